"""Other clients: while one behaves badly, these go on and lose nothing.

A producer sends a persistent message with a receipt, waits for it, and so on; a consumer takes each
with an ack. Both keep one connection for the whole run: losing it is a failure here, because no
master is killed.
"""

import itertools
import threading
import time

from checker import Checker
from load import ID_HEADER
from raw import Raw

# Between two messages: the broker's time is for the test.
PAUSE = 0.01

# Seconds: many times what was measured, because test machines are slow and busy.
ANSWER_MAX = 30


class Bystanders:
    """One producer and one consumer in threads of their own."""

    CONNECTIONS = 2

    def __init__(self, address, queue="/queue/bystanders"):
        self.checker = Checker()
        self._queue = queue
        self._stop = threading.Event()
        self._failures = []
        self._consumer = Raw.connect(address)
        self._consumer.request("SUBSCRIBE", id="1", destination=queue, ack="client-individual")
        self._producer = Raw.connect(address)
        self._number = self.checker.opened()
        self._threads = [threading.Thread(target=self._guard, args=[run], daemon=True) for run in (self._produce, self._consume)]
        for thread in self._threads:
            thread.start()

    def _guard(self, run):
        try:
            run()
        except Exception as error:
            self._failures.append(f"{run.__name__}: {error!r}")

    def _produce(self):
        for sequence in itertools.count(1):
            if self._stop.is_set():
                return
            id = f"0-{sequence}"
            self.checker.written(id)
            self._producer.send("SEND", id, destination=self._queue, persistent="true", receipt=id, more=[(ID_HEADER, id)])
            receipt = self._producer.expect("RECEIPT", ANSWER_MAX)["receipt-id"]
            self.checker.acknowledged(receipt)
            time.sleep(PAUSE)

    def _consume(self):
        while not self._stop.is_set() or self.checker.missing():
            try:
                message = self._consumer.expect("MESSAGE", 0.1)
            except TimeoutError:
                continue
            self.checker.received(message[ID_HEADER], message["message-id"], "redelivered" in message, self._queue, 0, self._number)
            self._consumer.send("ACK", id=message["ack"])

    def go_on(self):
        """Asserts that both still do what they did."""
        acknowledged, received = self.checker.acknowledgements, self.checker.receptions
        deadline = time.monotonic() + ANSWER_MAX
        while self.checker.acknowledgements < acknowledged + 3 or self.checker.receptions < received + 3:
            assert not self._failures, self._failures
            assert time.monotonic() < deadline, "the bystanders make no progress"
            time.sleep(0.01)

    def finish(self):
        """Stops them and asserts that nothing was lost."""
        self._stop.set()
        for thread in self._threads:
            thread.join(ANSWER_MAX)
            assert not thread.is_alive(), "what was acknowledged does not arrive"
        self._producer.close()
        self._consumer.close()
        assert not self._failures, self._failures
        assert self.checker.violations() == []
