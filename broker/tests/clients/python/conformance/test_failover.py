"""Row "failover": what clients see when the master is killed, in a group of their own."""

import time

import pytest

from group import Group
from listening import Client
from raw import Closed, Raw, VERSIONS


@pytest.fixture(scope="module")
def group():
    """Killed again and again."""
    with Group(replicas=3) as group:
        yield group


@pytest.fixture
def kill(group):
    """Kills the master of a group that is in step, and waits for the next one."""
    group.wait_in_step()

    def kill():
        before = group.kill_master()
        after = group.master()
        assert after["epoch"] > before["epoch"]
        return before, after

    return kill


def test_acknowledged_messages_are_there_under_the_same_ids_and_say_redelivered(kill, group, queue):
    with Raw.connect(group.address()) as client:
        for version in VERSIONS:
            client.request("SEND", version, destination=queue, persistent="true", own="kept")
        client.request("SUBSCRIBE", id="1", destination=queue, ack="client")
        before = client.messages(3)
        kill()
        with pytest.raises(Closed):
            client.read()
    for version in VERSIONS:
        with Raw.connect(group.address(), version) as client:
            client.request("SUBSCRIBE", id="1", destination=queue, ack="client")
            after = client.messages(3)
            assert [message["message-id"] for message in after] == [message["message-id"] for message in before]
            assert all(message["redelivered"] == "true" and message["own"] == "kept" for message in after)
            client.request("DISCONNECT")


def test_entries_older_than_the_master_say_redelivered_newer_ones_do_not(kill, group, queue):
    with Raw.connect(group.address()) as client:
        client.request("SEND", "older", destination=queue, persistent="true")
    kill()
    with Raw.connect(group.address()) as client:
        client.request("SEND", "newer", destination=queue, persistent="true")
        client.request("SUBSCRIBE", id="1", destination=queue)
        older, newer = client.messages(2)
    assert (older["redelivered"], newer["redelivered"]) == ("true", None)


def test_what_was_acked_does_not_come_again(kill, group, queue):
    with Raw.connect(group.address()) as client:
        client.request("SUBSCRIBE", id="1", destination=queue, ack="client-individual")
        for number in range(10):
            client.send("SEND", str(number), destination=queue, persistent="true")
        for message in client.messages(10)[::2]:
            client.request("ACK", id=message["ack"])
    kill()
    with Raw.connect(group.address()) as client:
        assert [message.body for message in client.browse(queue)] == [b"1", b"3", b"5", b"7", b"9"]


def test_a_send_without_a_receipt_is_enqueued_at_most_once(kill, group, queue):
    sent = 3_000
    client = Raw.connect(group.address())
    frames = [client.encode("SEND", f"{number}", destination=queue, persistent="true", receipt=f"{number}") for number in range(sent)]
    client.write(b"".join(frames))
    answered = {client.expect("RECEIPT")["receipt-id"] for _ in range(50)}
    kill()
    try:
        while True:
            answered.add(client.expect("RECEIPT")["receipt-id"])
    except Closed:
        client.close()
    with Raw.connect(group.address()) as client:
        found = [message.body.decode() for message in client.browse(queue)]
    assert len(found) == len(set(found)), "nothing is enqueued twice"
    assert answered <= set(found), "nothing that was answered is lost"
    assert found == sorted(found, key=int), "the order of the sender holds"


def test_messages_that_are_not_persistent_do_not_outlive_their_master(kill, group, queue):
    with Raw.connect(group.address()) as client:
        client.request("SEND", "gone", destination=queue)
        client.request("SEND", "kept", destination=queue, persistent="true")
    kill()
    with Raw.connect(group.address()) as client:
        assert [message.body for message in client.browse(queue)] == [b"kept"]


def test_an_open_transaction_is_rolled_back(kill, group, queue):
    with Raw.connect(group.address()) as client:
        client.request("SEND", "before", destination=queue, persistent="true")
        client.request("SUBSCRIBE", id="1", destination=queue, ack="client")
        message = client.expect("MESSAGE")
        client.request("BEGIN", transaction="t")
        client.request("SEND", "never", destination=queue, persistent="true", transaction="t")
        client.request("ACK", id=message["ack"], transaction="t")
        kill()
    with Raw.connect(group.address()) as client:
        assert [message.body for message in client.browse(queue)] == [b"before"]
        client.refused("COMMIT", transaction="t")


def test_dead_letters_outlive_their_master(kill, group, queue):
    with Raw.connect(group.address()) as client:
        client.request("SUBSCRIBE", id="1", destination=queue, ack="client")
        client.send("SEND", "poison", destination=queue, persistent="true")
        client.request("NACK", id=client.expect("MESSAGE")["ack"])
    kill()
    with Raw.connect(group.address()) as client:
        letters = [each for each in client.browse("/queue/ActiveMQ.DLQ") if each["original-destination"] == queue]
    assert [letter.body for letter in letters] == [b"poison"]


def test_stomp_py_finds_the_next_master(kill, group, queue, version):
    client = Client(group.addresses(), version)
    client.receipt("send", queue, "before", headers={"persistent": "true"})
    kill()
    client.wait_disconnected()
    client = Client(group.addresses(), version)
    client.receipt("subscribe", queue, id="1", ack="client")
    frame = client.message()
    assert frame.body == "before" and frame.headers["redelivered"] == "true"
    client.ack(frame, "1")
    client.abort()


def test_a_master_that_is_asked_to_end_loses_nothing(group, queue):
    group.wait_in_step()
    master = group.master()
    with Raw.connect(group.address()) as client:
        for number in range(20):
            client.request("SEND", str(number), destination=queue, persistent="true")
        group.signal(master["name"], 15)
        client.expect_close()
    assert group.master()["epoch"] > master["epoch"]
    with Raw.connect(group.address()) as client:
        assert len(client.browse(queue)) == 20


def test_brokers_that_end_together_do_not_wait_for_each_other(group, queue):
    """A master that hands over waits up to 5 s (`handoverMaxMs`) for its successor. Without anybody
    left to vote there is none."""
    for attempt in range(3):
        group.wait_in_step()
        with Raw.connect(group.address()) as client:
            client.request("SEND", "x", destination=queue, persistent="true")
        began = time.monotonic()
        group.stop()
        assert time.monotonic() - began < 4, f"stop {attempt}"
        group.start()
    with Raw.connect(group.address()) as client:
        assert len(client.browse(queue)) == 3
