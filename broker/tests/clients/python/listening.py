"""stomp.py as the tests use it: what comes from the broker waits in queues, with deadlines."""

import itertools
import queue
import time

import stomp

CONNECTIONS = {
    "1.0": stomp.StompConnection10,
    "1.1": stomp.StompConnection11,
    "1.2": stomp.StompConnection12,
}

# Seconds: many times what was measured, because test machines are slow and busy.
ANSWER_MAX = 20

RECEIPTS = itertools.count(1)


class Client(stomp.ConnectionListener):
    """One connection of stomp.py, to whichever of the addresses is the master's."""

    def __init__(self, addresses, version="1.2", login=None, passcode=None, **options):
        self.version = version
        self.messages = queue.Queue()
        self.errors = queue.Queue()
        self.receipts = queue.Queue()
        self.beats = 0
        self.beats_missed = 0
        self.is_disconnected = False
        self.connected = None
        if version != "1.0":
            # stomp.py counts a broker as silent after 1.5 of its intervals: too strict for a
            # machine that does something else meanwhile.
            options.setdefault("heart_beat_receive_scale", 10)
        # A slave refuses at once: the next address is tried, after a pause all of them again.
        self.connection = CONNECTIONS[version](
            list(addresses), reconnect_sleep_initial=0.1, reconnect_sleep_increase=0, reconnect_attempts_max=300, **options
        )
        self.connection.set_listener("test", self)
        self.connection.connect(login, passcode, wait=True)

    # === what stomp.py calls ===

    def on_connected(self, frame):
        self.connected = frame

    def on_message(self, frame):
        self.messages.put(frame)

    def on_error(self, frame):
        self.errors.put(frame)

    def on_receipt(self, frame):
        self.receipts.put(frame.headers["receipt-id"])

    def on_heartbeat(self):
        self.beats += 1

    def on_heartbeat_timeout(self):
        self.beats_missed += 1

    def on_disconnected(self):
        self.is_disconnected = True

    # === what tests call ===

    def message(self, within=ANSWER_MAX):
        return self.messages.get(timeout=within)

    def error(self, within=ANSWER_MAX):
        return self.errors.get(timeout=within)

    def nothing_comes(self, seconds=0.3):
        try:
            frame = self.messages.get(timeout=seconds)
        except queue.Empty:
            return True
        raise AssertionError(f"nothing was expected: {frame}")

    def receipt(self, command, *arguments, **options):
        """Calls a method of the connection with a receipt and waits for it."""
        receipt = f"s{next(RECEIPTS)}"
        getattr(self.connection, command)(*arguments, receipt=receipt, **options)
        self.wait_receipt(receipt)

    def wait_receipt(self, receipt, within=ANSWER_MAX):
        got = self.receipts.get(timeout=within)
        assert got == receipt, f"RECEIPT {receipt} expected, not {got}"

    def ack(self, frame, subscription, command="ack", **options):
        """ACK or NACK with the headers of the version."""
        headers = frame.headers
        if self.version == "1.2":
            arguments = [headers["ack"]]
        elif self.version == "1.1":
            arguments = [headers["message-id"], subscription]
        else:
            arguments = [headers["message-id"]]
        self.receipt(command, *arguments, **options)

    def wait_disconnected(self, within=ANSWER_MAX):
        deadline = time.monotonic() + within
        while not self.is_disconnected:
            assert time.monotonic() < deadline, "the connection should end"
            time.sleep(0.02)

    def abort(self):
        """Ends the connection without a word."""
        self.connection.transport.disconnect_socket()
