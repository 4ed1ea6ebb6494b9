"""What the loads of `failover` have in common, whatever the client library."""

import threading
import time

# The header with the test's own id of a message, `<producer>-<sequence>`.
ID_HEADER = "check-id"

QUEUES = ["/queue/failover.one", "/queue/failover.two"]

# SENDs of one producer that wait for their RECEIPT.
WINDOW = 8


def consumers_of(one, two):
    """The queue of each consumer: the first has one, so that order is judged; the second has two."""
    return [one, two, two]


def producers_of(one, two):
    """The queue of each producer."""
    return [one, one, two, two]


class FirstAnswer:
    """When the first RECEIPT came on a connection that was opened after a kill."""

    def __init__(self):
        self._after = None
        self._at = None
        self._condition = threading.Condition()

    def watch(self, connections):
        with self._condition:
            self._after, self._at = connections, None

    def came(self, connection):
        with self._condition:
            if self._after is not None and self._at is None and connection > self._after:
                self._at = time.monotonic()
                self._condition.notify_all()

    def wait(self, within):
        with self._condition:
            return self._at if self._condition.wait_for(lambda: self._at, within) else None
