"""The rows "RECEIPT of ...": when an answer comes, and what it waits for.

What needs a quorum is told from what does not by stopping both slaves: the master goes on for
`quorumHoldMs` (800 ms) after the last answer of a quorum, then holds everything back.
"""

import pytest

from raw import ack_headers

# Long enough to see that no answer comes, far below the lease (6 s) after which a master gives up.
WITHOUT_QUORUM = 1.5


@pytest.fixture
def without_slaves(group):
    """Both slaves hang; the master has no quorum. In step before, and after."""
    group.wait_in_step()

    def without_slaves():
        return group.stopped(*group.slaves())

    yield without_slaves
    group.wait_in_step()


def waits_for_a_quorum(without_slaves, client, command, **headers):
    """The frame is answered when a quorum is back, and not before."""
    with without_slaves():
        client.send(command, receipt="waits", **headers)
        assert client.nothing_comes(WITHOUT_QUORUM), f"{command} was answered without a quorum"
    assert client.until_receipt("waits") == []


def test_a_persistent_send_is_answered_after_quorum_commit(without_slaves, connect, queue):
    waits_for_a_quorum(without_slaves, connect(), "SEND", destination=queue, persistent="true")


def test_commit_is_answered_after_quorum_commit(without_slaves, connect, queue):
    client = connect()
    client.request("BEGIN", transaction="t")
    client.request("SEND", destination=queue, persistent="true", transaction="t")
    waits_for_a_quorum(without_slaves, client, "COMMIT", transaction="t")


@pytest.mark.parametrize("command", ["ACK", "NACK"])
def test_ack_and_nack_are_answered_after_quorum_commit(without_slaves, connect, queue, command):
    client = connect()
    client.request("SUBSCRIBE", id="1", destination=queue, ack="client-individual")
    client.send("SEND", destination=queue, persistent="true")
    message = client.expect("MESSAGE")
    waits_for_a_quorum(without_slaves, client, command, id=message["ack"])


def test_nothing_that_was_not_committed_is_delivered(group, without_slaves, connect, queue):
    sender, receiver = connect(), connect()
    receiver.request("SUBSCRIBE", id="1", destination=queue)
    with without_slaves():
        sender.send("SEND", destination=queue, persistent="true")
        assert receiver.nothing_comes(WITHOUT_QUORUM)
    assert receiver.expect("MESSAGE")["destination"] == queue


def test_no_quorum_is_no_error_and_heart_beats_go_on(without_slaves, connect, queue):
    client = connect(heart_beat="0,200")
    with without_slaves():
        client.send("SEND", destination=queue, persistent="true", receipt="1")
        client.send("SEND", destination=queue, receipt="2")
        # The second one may be answered before the quorum is missed.
        frames = client.frames_until_quiet(1)
        assert all(frame["receipt-id"] == "2" for frame in frames), frames
        client.wait_beats(client.beats + 3)
    frames += [client.read() for _ in range(2 - len(frames))]
    assert sorted(frame["receipt-id"] for frame in frames) == ["1", "2"]


@pytest.mark.parametrize("destination", ["/queue/", "/topic/", "/temp-queue/", "/temp-topic/"])
@pytest.mark.parametrize("persistent", ["true", "false"])
def test_every_send_is_answered(connect, name, version, destination, persistent):
    client = connect(version)
    if destination.startswith("/temp"):
        client.request("SUBSCRIBE", id="1", destination=destination + name)
    assert len(client.request("SEND", "x", destination=destination + name, persistent=persistent)) <= 1


def test_a_persistent_send_to_a_temporary_destination_counts_as_not_persistent(connect, name, version):
    client = connect(version)
    client.request("SUBSCRIBE", id="1", destination=f"/temp-queue/{name}")
    client.send("SEND", "x", destination=f"/temp-queue/{name}", persistent="true")
    assert "-n" in client.expect("MESSAGE")["message-id"]


def test_a_send_in_a_transaction_is_answered_when_accepted(connect, queue, version):
    client = connect(version)
    client.request("SUBSCRIBE", id="1", destination=queue)
    client.request("BEGIN", transaction="t")
    assert client.request("SEND", "x", destination=queue, persistent="true", transaction="t") == []
    assert client.nothing_comes()
    client.send("COMMIT", transaction="t")
    assert client.expect("MESSAGE").body == b"x"


def test_an_ack_in_a_transaction_is_answered_when_accepted(connect, queue, version):
    client = connect(version)
    client.request("SUBSCRIBE", id="1", destination=queue, ack="client")
    client.send("SEND", "x", destination=queue, persistent="true")
    message = client.expect("MESSAGE")
    client.request("BEGIN", transaction="t")
    client.request("ACK", transaction="t", **ack_headers(version, message, "1"))
    client.request("COMMIT", transaction="t")


@pytest.mark.parametrize("destination", ["/queue/", "/topic/"])
def test_an_ack_of_a_message_without_a_record_is_answered(connect, name, version, destination):
    client = connect(version)
    client.request("SUBSCRIBE", id="1", destination=destination + name, ack="client-individual")
    client.send("SEND", "x", destination=destination + name)
    message = client.expect("MESSAGE")
    client.request("ACK", **ack_headers(version, message, "1"))


def test_the_receipt_of_subscribe_comes_before_its_first_message(connect, queue, version):
    client = connect(version)
    for number in range(20):
        client.send("SEND", str(number), destination=queue, persistent="true")
    assert client.request("SUBSCRIBE", id="1", destination=queue) == []
    assert len(client.messages(20)) == 20


def test_the_receipt_of_disconnect_comes_last_then_the_server_closes(connect, browse, queue, version):
    client = connect(version)
    frames = [client.encode("SEND", "x", destination=queue, persistent="true", receipt=f"s{number}") for number in range(50)]
    client.write(b"".join(frames) + client.encode("DISCONNECT", receipt="bye"))
    receipts = [client.expect("RECEIPT")["receipt-id"] for _ in range(51)]
    assert receipts == [f"s{number}" for number in range(50)] + ["bye"]
    client.expect_close()
    assert len(browse(queue)) == 50


def test_disconnect_without_a_receipt_closes_too(connect, version):
    client = connect(version)
    client.send("DISCONNECT")
    client.expect_close()


def test_every_frame_can_ask_for_a_receipt(connect, queue, version):
    client = connect(version)
    client.request("SUBSCRIBE", id="1", destination=queue, ack="client")
    client.request("BEGIN", transaction="t")
    client.request("SEND", "x", destination=queue, transaction="t")
    client.request("ABORT", transaction="t")
    client.request("UNSUBSCRIBE", id="1")
    client.request("DISCONNECT")


def test_stomp_py_waits_for_its_receipts(stomp_py, queue, version):
    client = stomp_py(version)
    for number in range(100):
        client.connection.send(queue, "x", headers={"persistent": "true", "receipt": f"n{number}"})
    for number in range(100):
        client.wait_receipt(f"n{number}")
    client.connection.disconnect(receipt="bye")
    client.wait_receipt("bye")
    client.wait_disconnected()
