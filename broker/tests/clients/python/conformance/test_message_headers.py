"""Row "MESSAGE headers"."""

import re

import pytest

from raw import ack_headers


@pytest.mark.parametrize("ack", ["auto", "client", "client-individual"])
def test_a_message_carries_its_headers(connect, queue, version, ack):
    client = connect(version)
    client.request("SUBSCRIBE", id="my id", destination=queue, ack=ack)
    client.send("SEND", "x", destination=queue, persistent="true")
    message = client.expect("MESSAGE")
    assert message["destination"] == queue
    assert message["subscription"] == "my id"
    assert message["priority"] == "4"
    assert message["expires"] == "0"
    assert int(message["timestamp"]) > 1_600_000_000_000
    assert ("ack" in message) == (version == "1.2" and ack != "auto"), "ack is there when an ACK is wanted, in 1.2"
    assert "redelivered" not in message


def test_no_header_of_a_message_comes_twice(connect, queue, version):
    client = connect(version)
    client.request("SUBSCRIBE", id="1", destination=queue, ack="client")
    more = [("priority", "5"), ("persistent", "true"), ("type", "t"), ("own", "1"), ("own", "2"), ("content-type", "a/b")]
    client.send("SEND", "x", destination=queue, more=more)
    names = [name for name, _ in client.expect("MESSAGE").headers]
    assert len(names) == len(set(names))


def test_the_id_of_a_persistent_message_is_group_epoch_and_offset(group, connect, queue, version):
    client = connect(version)
    client.request("SUBSCRIBE", id="1", destination=queue)
    for _ in range(3):
        client.send("SEND", "x", destination=queue, persistent="true")
    ids = [re.fullmatch(r"ID:a-(\d+)-(\d+)", message["message-id"]) for message in client.messages(3)]
    assert all(ids)
    assert {int(each[1]) for each in ids} == {group.master()["epoch"]}
    offsets = [int(each[2]) for each in ids]
    assert offsets == sorted(set(offsets))


def test_the_id_is_the_same_when_it_comes_again(connect, queue, version):
    first = connect(version)
    first.request("SUBSCRIBE", id="1", destination=queue, ack="client")
    first.send("SEND", "x", destination=queue, persistent="true")
    message = first.expect("MESSAGE")
    first.close()
    second = connect(version)
    second.request("SUBSCRIBE", id="2", destination=queue)
    again = second.expect("MESSAGE")
    assert again["message-id"] == message["message-id"]
    assert again["redelivered"] == "true"


@pytest.mark.parametrize("version", ["1.1", "1.2"])
def test_a_dead_letter_says_where_it_comes_from_and_why(connect, dead_letters, queue, version):
    client = connect(version)
    client.request("SUBSCRIBE", id="1", destination=queue, ack="client")
    client.send("SEND", "poison", destination=queue, persistent="true", own="kept")
    client.request("NACK", **ack_headers(version, client.expect("MESSAGE"), "1"))
    letter, = dead_letters(queue)
    assert letter["destination"] == "/queue/ActiveMQ.DLQ"
    assert letter["dlqDeliveryFailureCause"]
    assert (letter.body, letter["own"], letter["persistent"]) == (b"poison", "kept", "true")


def test_headers_of_the_broker_come_before_properties(connect, queue, version):
    client = connect(version)
    client.request("SUBSCRIBE", id="1", destination=queue)
    client.send("SEND", "x", destination=queue, more=[("own", "1")])
    names = [name for name, _ in client.expect("MESSAGE").headers]
    assert max(names.index(each) for each in ("destination", "message-id", "subscription", "priority")) < names.index("own")


def test_stomp_py_sees_them(stomp_py, queue, version):
    client = stomp_py(version)
    client.receipt("subscribe", queue, id="1", ack="client-individual")
    client.receipt("send", queue, "x", headers={"persistent": "true"})
    frame = client.message()
    assert frame.headers["destination"] == queue
    assert frame.headers["message-id"].startswith("ID:a-")
    client.ack(frame, "1")
