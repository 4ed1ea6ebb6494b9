"""Producers and consumers of `failover` that use stomp.py, all three versions of the protocol.

Each client is a thread that keeps one connection: when it is lost, the next one goes to whichever
broker listens. Half of the producers send again what was not answered (another SEND, which may be
enqueued too), the others leave it unknown.
"""

import itertools
import socket
import threading
import time

import stomp

from load import FirstAnswer, ID_HEADER, QUEUES, WINDOW, consumers_of, producers_of
from raw import VERSIONS

CONNECTIONS = {"1.0": stomp.StompConnection10, "1.1": stomp.StompConnection11, "1.2": stomp.StompConnection12}

# Between two SENDs of a producer: the brokers shall have something to do, not all there is.
PAUSE = 0.002

# A look whether anybody listens, in seconds: a machine that is away answers nothing at all.
LOOK_MAX = 0.5


class StompPyLoad:
    """All clients of a run.

    `login` is a user and its password. `silence_max`, in seconds, is how long the other machine
    may answer nothing before a client takes a connection for dead: needed where a whole machine may go.
    `queues` are two that no other load uses: each checker knows only its own messages.
    """

    def __init__(self, checker, addresses, login=None, silence_max=None, queues=QUEUES):
        self.checker = checker
        self.addresses = addresses
        self.login = {} if login is None else {"username": login[0], "passcode": login[1]}
        self.silence_max = silence_max
        self.first_answer = FirstAnswer()
        self.producing = True
        self.running = True
        self._producers = [Producer(self, number, queue) for number, queue in enumerate(producers_of(*queues))]
        self._consumers = [Consumer(self, number, queue) for number, queue in enumerate(consumers_of(*queues))]
        for client in self._producers + self._consumers:
            client.start()

    def is_alive(self):
        return all(client.is_alive() for client in self._producers + self._consumers)

    def connected(self):
        """How many clients have a connection now."""
        return sum(client.is_connected for client in self._producers + self._consumers)

    def stop_producing(self):
        self.producing = False
        for client in self._producers:
            client.join()

    def close(self):
        self.producing = self.running = False
        for client in self._producers + self._consumers:
            client.join(30)


class LoadClient(threading.Thread, stomp.ConnectionListener):
    """A thread that has a connection whenever there is a master."""

    def __init__(self, load, number, queue, version):
        super().__init__(daemon=True)
        self.load = load
        self.checker = load.checker
        self.number = number
        self.queue = queue
        self.version = version
        self.condition = threading.Condition()
        self.is_connected = False
        self.connection = None
        self.connection_number = None

    def connect(self):
        """A new connection, or none if that did not work."""
        for address in self.load.addresses:
            if self.load.silence_max is not None and not listens(address):
                continue
            self.connection_number = self.checker.opened()
            connection = CONNECTIONS[self.version](
                [address], reconnect_attempts_max=1, reconnect_sleep_initial=0.001, timeout=self.load.silence_max
            )
            listener = Listener(self, connection)
            connection.set_listener("load", listener)
            try:
                # Before `connect` returns the listener may be told of the end.
                self.connection, self.is_connected = connection, True
                connection.connect(wait=True, **self.load.login)
                if self.load.silence_max is not None:
                    end_when_silent(connection.transport.socket, self.load.silence_max)
                return True
            except (stomp.exception.StompException, OSError):
                self.is_connected = False
        return False

    def run(self):
        while self.is_wanted():
            if self.connect():
                try:
                    self.serve()
                except (stomp.exception.StompException, OSError):
                    pass  # The connection was lost; the next one follows.
                self.leave()
        self.leave()

    def leave(self):
        self.is_connected = False
        if self.connection is not None:
            self.connection.transport.disconnect_socket()


def end_when_silent(connection, seconds):
    """The kernel ends the connection when the other machine answers nothing for so long."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 1)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 1)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, seconds * 1000)


def listens(address):
    """Does anybody take connections there?"""
    try:
        socket.create_connection(address, LOOK_MAX).close()
        return True
    except OSError:
        time.sleep(0.01)  # Refused at once: the next round may come a little later.
        return False


class Listener(stomp.ConnectionListener):
    """What one connection says to its client; what an older one says late is not the newer one's."""

    def __init__(self, client, connection):
        self.client = client
        self.connection = connection
        self.number = client.connection_number

    def on_message(self, frame):
        self.client.handle_message(self, frame)

    def on_receipt(self, frame):
        self.client.handle_receipt(self, frame.headers["receipt-id"])

    def on_error(self, frame):
        self.client.handle_error(frame)

    def on_disconnected(self):
        with self.client.condition:
            if self.client.connection is self.connection:
                self.client.is_connected = False
                self.client.condition.notify_all()


class Producer(LoadClient):
    """Sends with receipts, at most `WINDOW` unanswered."""

    def __init__(self, load, number, queue):
        super().__init__(load, number, queue, VERSIONS[number % 3])
        self.sends_again = number % 2 == 1
        self.sequence = itertools.count(1)
        self.unanswered = []

    def is_wanted(self):
        return self.load.running and (self.load.producing or (self.sends_again and self.unanswered))

    def serve(self):
        with self.condition:
            again, self.unanswered = self.unanswered, []
        if self.sends_again:
            for position, id in enumerate(again):
                try:
                    self.send(id)
                except Exception:
                    self.unanswered += again[position + 1 :]
                    raise
        while self.load.producing and self.is_connected:
            if self.wait_room(WINDOW - 1):
                self.send(f"{self.number}-{next(self.sequence)}")
                time.sleep(PAUSE)
        self.wait_room(0)

    def wait_room(self, unanswered_max):
        """True when no more than so many wait and the connection is there."""
        with self.condition:
            self.condition.wait_for(lambda: len(self.unanswered) <= unanswered_max or not self.is_connected)
            return self.is_connected

    def send(self, id):
        with self.condition:
            self.unanswered.append(id)
        self.checker.written(id)
        self.connection.send(self.queue, id, headers={"persistent": "true", ID_HEADER: id, "receipt": id})

    def handle_receipt(self, listener, id):
        self.checker.acknowledged(id)
        self.load.first_answer.came(listener.number)
        with self.condition:
            if id in self.unanswered:
                self.unanswered.remove(id)
                self.condition.notify_all()

    def handle_message(self, listener, frame):
        raise AssertionError("a producer has no subscription")

    def handle_error(self, frame):
        id = frame.headers.get("receipt-id")
        if id is None:
            return
        self.checker.refused(id)
        with self.condition:
            if id in self.unanswered:
                self.unanswered.remove(id)
            self.condition.notify_all()


class Consumer(LoadClient):
    """Takes and acks each message by itself, with a receipt."""

    def __init__(self, load, number, queue):
        super().__init__(load, number, queue, VERSIONS[(number + 1) % 3])
        self.acks = {}
        self.ack_numbers = itertools.count(1)

    def is_wanted(self):
        return self.load.running

    def serve(self):
        self.acks = {}
        self.connection.subscribe(self.queue, id="1", ack="client-individual", headers={"activemq.prefetchSize": "100"})
        while self.is_connected and self.load.running:
            with self.condition:
                self.condition.wait(0.2)

    def handle_message(self, listener, frame):
        headers = frame.headers
        id, message_id = headers[ID_HEADER], headers["message-id"]
        redelivered = headers.get("redelivered") == "true"
        self.checker.received(id, message_id, redelivered, headers["destination"], self.number, listener.number)
        receipt = f"ack-{next(self.ack_numbers)}"
        self.acks[receipt] = (id, message_id)
        if self.version == "1.2":
            listener.connection.ack(headers["ack"], receipt=receipt)
        elif self.version == "1.1":
            listener.connection.ack(message_id, "1", receipt=receipt)
        else:
            listener.connection.ack(message_id, receipt=receipt)

    def handle_receipt(self, listener, receipt):
        if receipt in self.acks:
            self.checker.consumed(*self.acks.pop(receipt))

    def handle_error(self, frame):
        """An ACK that was refused: its message comes again, or the connection has ended."""
