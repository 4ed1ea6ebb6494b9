"""What the tests share: one group of three brokers, names of queues, versions."""

import itertools
import re
import signal
import time

import pytest

from group import Group, raise_exit
from listening import Client
from raw import VERSIONS, Raw

COUNTER = itertools.count(1)


def pytest_configure():
    """A run that is asked to end (SIGTERM) ends its groups and removes their folders."""
    signal.signal(signal.SIGTERM, raise_exit)


@pytest.fixture(scope="session")
def group():
    """Three brokers with the settings they come with."""
    with Group(replicas=3) as group:
        yield group


@pytest.fixture(params=VERSIONS)
def version(request):
    """Each version of the protocol."""
    return request.param


@pytest.fixture
def connect(group):
    """Opens connections of the raw client that end with the test."""
    opened = []

    def connect(version="1.2", **headers):
        opened.append(Raw.connect(group.address(), version, **headers))
        return opened[-1]

    yield connect
    for client in opened:
        client.close()


@pytest.fixture
def dial(group):
    """Opens sockets on which nothing was said yet."""
    opened = []

    def dial(version="1.2"):
        opened.append(Raw(group.address(), version))
        return opened[-1]

    yield dial
    for client in opened:
        client.close()


@pytest.fixture
def browse(group):
    """What is in a queue at this moment, in flight or not."""

    def browse(queue):
        with Raw.connect(group.address()) as client:
            return client.browse(queue)

    return browse


@pytest.fixture
def gets_empty(browse):
    """True once nothing is in a queue: the record of an `auto` ack has no RECEIPT to wait for."""

    def gets_empty(queue, within=20):
        deadline = time.monotonic() + within
        while left := browse(queue):
            assert time.monotonic() < deadline, f"{len(left)} messages are still in {queue}"
        return True

    return gets_empty


@pytest.fixture
def dead_letters(browse):
    """Waits for the dead letters of a queue."""

    def dead_letters(queue, count=1, within=20):
        deadline = time.monotonic() + within
        while True:
            letters = [each for each in browse("/queue/ActiveMQ.DLQ") if each["original-destination"] == queue]
            if len(letters) >= count or time.monotonic() > deadline:
                assert len(letters) == count
                return letters

    return dead_letters


@pytest.fixture
def stomp_py(group):
    """Opens connections of stomp.py that end with the test."""
    opened = []

    def open_client(version="1.2", **options):
        opened.append(Client(group.addresses(), version, **options))
        return opened[-1]

    yield open_client
    for client in opened:
        client.abort()


@pytest.fixture
def name(request):
    """A name that no other test uses."""
    plain = re.sub(r"[^a-z0-9]+", ".", request.node.name.lower()).strip(".")
    return f"{plain}.{next(COUNTER)}"


@pytest.fixture
def queue(name):
    """A queue that no other test uses."""
    return f"/queue/{name}"


@pytest.fixture
def topic(name):
    """A topic that no other test uses."""
    return f"/topic/{name}"
