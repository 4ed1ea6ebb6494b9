"""The journal has no room: producers are refused, consumers go on, and nobody ends.

The limit is `journal.maxBytes`; with TANDEMMQ_TMPFS=1 it is a real ENOSPC instead, on a tmpfs for
each broker (needs root; run it under `unshare --mount`, so that no mount outlives it).
"""

import contextlib
import os
import signal
import subprocess
import time

import pytest

from group import Group
from raw import Raw

MIB = 1 << 20

# Small, so that the limit is near. Of the reserve a quarter is for elections alone.
SEGMENT, RESERVE = MIB, 8 * MIB
LIMIT, RAISED = 24 * MIB, 64 * MIB

BODY = b"x" * 60_000

# Seconds: many times what was measured, because test machines are slow and busy.
WAIT_MAX = 60

CONFIG = {"journal.segmentBytes": SEGMENT, "journal.reserveBytes": RESERVE}


class MaxBytes:
    """`journal.maxBytes` in the configuration; raised by a restart, one broker after the other."""

    def __init__(self):
        self.group = Group(config=CONFIG | {"journal.maxBytes": LIMIT})

    @contextlib.contextmanager
    def running(self):
        with self.group:
            yield self

    def raise_limit(self, names=None):
        group = self.group
        for name in names or [*group.slaves(), group.master()["name"]]:
            group.configure(name, {"journal.maxBytes": RAISED})
            if pid := group.broker(name)["pid"]:
                group.signal(name, signal.SIGTERM)
            wait(lambda: group.broker(name)["pid"] not in (pid, None), f"{name} starts again")
            group.master()


class Tmpfs:
    """A tmpfs of that size for each broker; raised while everything runs."""

    def __init__(self):
        self.group = Group(config=CONFIG)

    @contextlib.contextmanager
    def running(self):
        group = self.group
        mounted = []
        try:
            group.lay_out()
            for broker in group.brokers():
                subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={LIMIT}", "tandemmq-test", broker["dataDir"]], check=True)
                mounted.append(broker["dataDir"])
            group.start()
            group.master()
            yield self
        finally:
            group.stop()
            for folder in mounted:
                subprocess.run(["umount", folder], check=True)
            group.close()

    def raise_limit(self, names=None):
        for broker in self.group.brokers():
            if names is None or broker["name"] in names:
                subprocess.run(["mount", "-o", f"remount,size={RAISED}", broker["dataDir"]], check=True)


KIND = Tmpfs if os.environ.get("TANDEMMQ_TMPFS") == "1" else MaxBytes


@pytest.fixture
def disk():
    with KIND().running() as disk:
        yield disk


@pytest.fixture
def group(disk):
    disk.group.wait_in_step()
    return disk.group


def wait(holds, what):
    deadline = time.monotonic() + WAIT_MAX
    while not holds():
        assert time.monotonic() < deadline, f"not within {WAIT_MAX} s: {what}"
        time.sleep(0.05)


def view_of(group, name):
    """A broker as `cluster-list` shows it."""
    return next(broker for broker in group.list()["brokers"] if broker["name"] == name)


def fill(client, queue, body=BODY):
    """Sends until a send is refused: how many were answered, and the ERROR."""
    for count in range(2 * RAISED // len(BODY)):
        client.send("SEND", body, destination=queue, persistent="true", receipt=f"{count}", content_length=len(body))
        answer = client.read(WAIT_MAX)
        if answer.command == "ERROR":
            assert answer["receipt-id"] == f"{count}"
            return count, answer
        assert answer["receipt-id"] == f"{count}"
    raise AssertionError("no send was refused")


def consume(client, queue, count):
    """Takes so many messages, each acked with a receipt."""
    prefetch = [("activemq.prefetchSize", str(count))]
    client.request("SUBSCRIBE", id=queue, destination=queue, ack="client-individual", more=prefetch)
    messages = client.messages(count)
    for message in messages:
        client.send("ACK", id=message["ack"], receipt=message["message-id"])
    answered = set()
    while len(answered) < count:
        frame = client.read(WAIT_MAX)
        if frame.command == "RECEIPT":
            answered.add(frame["receipt-id"])
    assert answered == {message["message-id"] for message in messages}
    client.send("DISCONNECT")


def processes(group):
    return {broker["name"]: broker["pid"] for broker in group.brokers()}


def can_send(group):
    with Raw.connect(group.address()) as client:
        client.send("SEND", BODY, destination="/queue/again", persistent="true", receipt="1", content_length=len(BODY))
        return client.read(WAIT_MAX).command == "RECEIPT"


def test_producers_are_refused_consumers_go_on_and_room_resumes_writing(disk, group):
    before = processes(group)
    with Raw.connect(group.address()) as client:
        count, error = fill(client, "/queue/full")
        assert count > 50
        assert "journal.maxBytes" in error["message"]
        # The refused frame had no effect; what needs no journal goes on.
        assert len(client.browse("/queue/full")) == count
        client.request("SEND", "x", destination="/queue/memory")
        client.request("SEND", "x", destination="/topic/memory", persistent="true")
        client.refused("SEND", BODY, destination="/queue/full", persistent="true", content_length=len(BODY))
        client.request("BEGIN", transaction="t")
        client.refused("SEND", BODY, destination="/queue/full", persistent="true", transaction="t", content_length=len(BODY))
        client.request("ABORT", transaction="t")
        wait(lambda: group.status(group.master()["name"])["reason"] == "JournalReserve", "the master says JournalReserve")
    with Raw.connect(group.address()) as client:
        consume(client, "/queue/full", count // 2)
    assert processes(group) == before, "nobody ended"
    disk.raise_limit()
    wait(lambda: can_send(group), "producers are accepted again")
    with Raw.connect(group.address()) as client:
        assert len(client.browse("/queue/full")) == count - count // 2
        consume(client, "/queue/full", count - count // 2)
    group.wait_in_step()


def test_a_full_group_elects_and_still_has_everything(disk, group):
    with Raw.connect(group.address()) as client:
        count, _ = fill(client, "/queue/full")
    for _ in range(3):
        killed = group.kill_master()
        group.wait_in_step()
        assert group.master()["epoch"] > killed["epoch"]
        with Raw.connect(group.address()) as client:
            assert len(client.browse("/queue/full")) == count
            client.refused("SEND", BODY, destination="/queue/full", persistent="true", content_length=len(BODY))
    with Raw.connect(group.address()) as client:
        consume(client, "/queue/full", count)


def test_acks_never_end_in_the_reserve_of_a_full_journal(disk, group):
    """Each is a record that names its queue, more of them than the reserve holds: it is cleaned up meanwhile."""
    queue = "/queue/" + "n" * 1_000
    with Raw.connect(group.address()) as client:
        most = 8_000
        frame = client.encode("SEND", "x", destination=queue, persistent="true")
        for _ in range(most // 500):
            client.write(frame * 499)
            client.request("SEND", "x", destination=queue, persistent="true")
        fill(client, "/queue/full")
    with Raw.connect(group.address()) as client:
        assert ack_one_by_one(client, queue, most) == most
    # What they took is free again, without a raised limit.
    wait(lambda: can_send(group), "producers are accepted again")
    killed = group.kill_master()
    assert group.master()["epoch"] > killed["epoch"]
    with Raw.connect(group.address()) as client:
        assert len(client.browse(queue)) == 0


def ack_one_by_one(client, queue, most):
    """Acks until one is not answered, each a record of its own; how many were answered."""
    more = [("activemq.prefetchSize", str(most))]
    client.request("SUBSCRIBE", id="1", destination=queue, ack="client-individual", more=more)
    acked = 0
    for message in client.messages(most):
        client.send("ACK", id=message["ack"], receipt="ack")
        try:
            if client.read(2).command != "RECEIPT":
                return acked
        except TimeoutError:
            return acked
        acked += 1
    return acked


def test_a_slave_without_room_stops_acking_and_does_not_end(disk, group):
    slave, other = group.slaves()
    disk.raise_limit([other, group.master()["name"]])
    if group.wait_in_step()["name"] == slave:
        # It came to reign while the others were started again.
        group.signal(slave, signal.SIGTERM)
        wait(lambda: group.master()["name"] != slave, "another broker is master")
        group.wait_in_step()
    before = processes(group)
    with Raw.connect(group.address()) as client:
        sent = RAISED // 2 // len(BODY)
        for _ in range(sent):
            client.request("SEND", BODY, destination="/queue/on", persistent="true", content_length=len(BODY))
        assert len(client.browse("/queue/on")) == sent
    wait(lambda: view_of(group, slave)["reason"] == "JournalFull", "the slave says JournalFull")
    assert view_of(group, slave)["lag"] > 0, "it does not say that it has what it has not"
    assert processes(group) == before, "nobody ended"
    disk.raise_limit([slave])
    group.wait_in_step()
