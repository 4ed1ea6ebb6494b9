"""The rows "ACK", "auto", "NACK" and "redelivery"."""

import pytest

from raw import ack_headers

FROM_1_1 = pytest.mark.parametrize("version", ["1.1", "1.2"])
PREFETCH = "activemq.prefetchSize"


@pytest.fixture
def consumer(connect, queue, version):
    """A connection with so many messages delivered to it: the client, the messages."""

    def consumer(count, ack="client", persistent="true"):
        client = connect(version)
        for number in range(count):
            client.request("SEND", str(number), destination=queue, persistent=persistent)
        client.request("SUBSCRIBE", id="1", destination=queue, ack=ack)
        return client, client.messages(count)

    return consumer


def bodies(messages):
    return [message.body.decode() for message in messages]


# === ACK ===


def test_client_takes_this_and_all_delivered_before_it(consumer, browse, queue, version):
    client, messages = consumer(5)
    client.request("ACK", **ack_headers(version, messages[2], "1"))
    assert bodies(browse(queue)) == ["3", "4"]


def test_client_individual_takes_this_one(consumer, browse, queue, version):
    client, messages = consumer(5, ack="client-individual")
    client.request("ACK", **ack_headers(version, messages[2], "1"))
    assert bodies(browse(queue)) == ["0", "1", "3", "4"]


def test_client_acks_of_one_subscription_leave_another_alone(connect, browse, name, version):
    client = connect(version)
    for each in "ab":
        client.request("SUBSCRIBE", id=each, destination=f"/queue/{name}.{each}", ack="client")
    for each in "ab":
        client.send("SEND", each, destination=f"/queue/{name}.{each}", persistent="true")
    messages = client.messages(2)
    last = messages[1]
    client.request("ACK", **ack_headers(version, last, last["subscription"]))
    first = messages[0]["destination"]
    assert len(browse(first)) == 1


@pytest.mark.parametrize("persistent", ["true", "false"])
def test_an_ack_twice_is_an_error_and_the_connection_stays(consumer, version, persistent):
    client, messages = consumer(1, persistent=persistent)
    client.request("ACK", **ack_headers(version, messages[0], "1"))
    client.refused("ACK", **ack_headers(version, messages[0], "1"))


def test_an_unknown_ack_is_an_error_and_the_connection_stays(consumer, browse, queue, version):
    client, messages = consumer(2)
    unknown = {
        "1.0": [{"message_id": "ID:a-1-999999999"}, {"message_id": "nothing"}, {}],
        "1.1": [{"message_id": "ID:a-1-999999999", "subscription": "1"}, {"message_id": messages[0]["message-id"], "subscription": "2"}, {"subscription": "1"}],
        "1.2": [{"id": "1-999"}, {"id": "9-1"}, {"id": "nothing"}, {"message_id": messages[0]["message-id"]}],
    }[version]
    for headers in unknown:
        client.refused("ACK", **headers)
    if version == "1.1":
        client.refused("ACK", message_id=messages[0]["message-id"])
    assert len(browse(queue)) == 2


def test_somebody_elses_delivery_cannot_be_acked(consumer, connect, browse, queue, version):
    _, messages = consumer(1)
    other = connect(version)
    other.request("SUBSCRIBE", id="1", destination=f"{queue}.other", ack="client")
    other.refused("ACK", **ack_headers(version, messages[0], "1"))
    assert len(browse(queue)) == 1


def test_topic_messages_are_acked_too(connect, topic, version):
    client = connect(version)
    client.request("SUBSCRIBE", id="1", destination=topic, ack="client", more=[(PREFETCH, "2")])
    for number in range(4):
        client.send("SEND", str(number), destination=topic)
    first = client.messages(2)
    assert client.nothing_comes()
    client.request("ACK", **ack_headers(version, first[1], "1"))
    assert bodies(client.messages(2)) == ["2", "3"]


# === auto ===


@pytest.mark.parametrize("persistent", ["true", "false"])
def test_auto_takes_what_was_handed_to_the_socket(connect, gets_empty, queue, version, persistent):
    client = connect(version)
    client.request("SUBSCRIBE", id="1", destination=queue)
    for number in range(50):
        client.send("SEND", str(number), destination=queue, persistent=persistent)
    assert bodies(client.messages(50)) == [str(number) for number in range(50)]
    assert gets_empty(queue)


def test_auto_leaves_what_did_not_fit_into_the_socket(connect, browse, queue):
    body = b"x" * 200_000
    sender, reader = connect(), connect()
    for _ in range(100):
        sender.request("SEND", body, destination=queue, persistent="true")
    # Nothing of the 20 MB is read: what no buffer took is not consumed.
    reader.send("SUBSCRIBE", id="1", destination=queue, more=[(PREFETCH, "100")])
    reader.abort()
    left = browse(queue)
    assert len(left) > 20
    assert all(len(message.body) == len(body) for message in left)


# === NACK ===


@FROM_1_1
@pytest.mark.parametrize("ack", ["client", "client-individual"])
def test_nack_sends_that_one_message_to_the_dead_letter_queue(consumer, browse, dead_letters, queue, version, ack):
    client, messages = consumer(4, ack=ack)
    client.request("NACK", **ack_headers(version, messages[2], "1"))
    letter, = dead_letters(queue)
    assert letter.body == b"2"
    assert bodies(browse(queue)) == ["0", "1", "3"]
    client.request("ACK", **ack_headers(version, messages[3], "1"))


@FROM_1_1
def test_nack_drops_a_message_that_is_not_persistent(consumer, browse, dead_letters, queue, version):
    client, messages = consumer(2, persistent="false")
    client.request("NACK", **ack_headers(version, messages[0], "1"))
    assert bodies(browse(queue)) == ["1"]
    assert dead_letters(queue, count=0) == []


def test_nack_in_1_0_is_an_error_and_the_connection_stays(connect, browse, queue):
    client = connect("1.0")
    client.request("SUBSCRIBE", id="1", destination=queue, ack="client")
    client.send("SEND", "x", destination=queue, persistent="true")
    client.refused("NACK", message_id=client.expect("MESSAGE")["message-id"])
    assert len(browse(queue)) == 1


@FROM_1_1
def test_an_unknown_nack_is_an_error_and_the_connection_stays(connect, version):
    client = connect(version)
    client.refused("NACK", id="1-1", message_id="ID:a-1-1", subscription="1")


@FROM_1_1
def test_stomp_py_acks_and_nacks(stomp_py, dead_letters, browse, queue, version):
    client = stomp_py(version)
    client.receipt("subscribe", queue, id="1", ack="client-individual")
    for number in range(3):
        client.receipt("send", queue, str(number), headers={"persistent": "true"})
    frames = [client.message() for _ in range(3)]
    client.ack(frames[0], "1")
    client.ack(frames[1], "1", command="nack")
    assert [letter.body for letter in dead_letters(queue)] == [b"1"]
    assert bodies(browse(queue)) == ["2"]


def test_stomp_py_acks_in_1_0(stomp_py, browse, queue):
    client = stomp_py("1.0")
    client.receipt("subscribe", queue, ack="client")
    client.receipt("send", queue, "x", headers={"persistent": "true"})
    client.ack(client.message(), None)
    assert browse(queue) == []


# === redelivery ===


@pytest.mark.parametrize("leave", ["abort", "close", "unsubscribe", "disconnect"])
@pytest.mark.parametrize("persistent", ["true", "false"])
def test_what_a_consumer_leaves_comes_again_in_its_place_and_says_so(consumer, connect, queue, version, leave, persistent):
    client, messages = consumer(5, ack="client-individual", persistent=persistent)
    client.request("ACK", **ack_headers(version, messages[1], "1"))
    if leave == "unsubscribe":
        client.request("UNSUBSCRIBE", id="1")
    elif leave == "disconnect":
        client.request("DISCONNECT")
    else:
        getattr(client, leave)()
    other = connect(version)
    other.request("SEND", "5", destination=queue, persistent=persistent)
    other.request("SUBSCRIBE", id="1", destination=queue)
    again = other.messages(5)
    assert bodies(again) == ["0", "2", "3", "4", "5"]
    assert [message["redelivered"] for message in again] == ["true"] * 4 + [None]


def test_what_was_never_delivered_is_not_marked(connect, queue, version):
    first, second = connect(version), connect(version)
    for number in range(5):
        first.request("SEND", str(number), destination=queue, persistent="true")
    first.request("SUBSCRIBE", id="1", destination=queue, ack="client", more=[(PREFETCH, "2")])
    first.messages(2)
    first.close()
    second.request("SUBSCRIBE", id="1", destination=queue)
    assert [message["redelivered"] for message in second.messages(5)] == ["true", "true", None, None, None]


def test_there_is_no_limit_of_redeliveries(connect, browse, queue, version):
    connect(version).request("SEND", "x", destination=queue, persistent="true")
    for attempt in range(20):
        client = connect(version)
        client.request("SUBSCRIBE", id="1", destination=queue, ack="client")
        message = client.expect("MESSAGE")
        assert message["redelivered"] == ("true" if attempt else None)
        client.close()
    assert len(browse(queue)) == 1


def test_a_consumer_that_dies_hands_over_to_one_that_waits(consumer, connect, queue, version):
    client, messages = consumer(10)
    waiting = connect(version)
    waiting.request("SUBSCRIBE", id="1", destination=queue)
    client.abort()
    assert bodies(waiting.messages(10)) == bodies(messages)
