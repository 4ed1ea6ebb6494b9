"""Row "SUBSCRIBE": ack modes, ids, prefetch, browsers, what is refused."""

import pytest

from raw import ack_headers, collect

REFUSED_HEADERS = [
    ("selector", "a = 1"),
    ("activemq.subscriptionName", "durable"),
    ("activemq.exclusive", "true"),
    ("activemq.retroactive", "true"),
    ("activemq.priority", "5"),
    ("activemq.noLocal", "true"),
    ("no-local", "true"),
    ("activemq.maximumPendingMessageLimit", "10"),
]


def fill(client, destination, count, persistent="true"):
    """Bodies 0, 1, 2 ...; they are in the queue when the last one is answered."""
    for number in range(count - 1):
        client.send("SEND", str(number), destination=destination, persistent=persistent)
    client.request("SEND", str(count - 1), destination=destination, persistent=persistent)


def test_auto_is_the_default(connect, gets_empty, queue, version):
    client = connect(version)
    client.request("SUBSCRIBE", id="1", destination=queue)
    client.send("SEND", "x", destination=queue, persistent="true")
    message = client.expect("MESSAGE")
    assert "ack" not in message
    client.refused("ACK", **(ack_headers("1.1", message, "1") if version != "1.2" else {"id": "1-1"}))
    assert gets_empty(queue), "taken without an ACK"


@pytest.mark.parametrize("ack", ["client", "client-individual"])
def test_without_an_ack_a_message_stays(connect, browse, queue, version, ack):
    client = connect(version)
    client.request("SUBSCRIBE", id="1", destination=queue, ack=ack)
    client.send("SEND", "x", destination=queue, persistent="true")
    message = client.expect("MESSAGE")
    assert len(browse(queue)) == 1
    client.request("ACK", **ack_headers(version, message, "1"))
    assert browse(queue) == []


def test_an_unknown_ack_mode_is_refused(connect, queue, version):
    error = connect(version).refused("SUBSCRIBE", id="1", destination=queue, ack="dups-ok")
    assert "client-individual" in error["message"]


def test_id_is_required_from_1_1_on(connect, queue, version):
    client = connect(version)
    if version == "1.0":
        client.request("SUBSCRIBE", destination=queue)
        client.send("SEND", "x", destination=queue)
        assert "subscription" not in client.expect("MESSAGE")
        client.request("UNSUBSCRIBE", destination=queue)
    else:
        assert "id" in client.refused("SUBSCRIBE", destination=queue)["message"]


def test_an_id_in_use_is_refused(connect, queue, version):
    client = connect(version)
    client.request("SUBSCRIBE", id="1", destination=queue)
    client.refused("SUBSCRIBE", id="1", destination=f"{queue}.other")
    client.request("UNSUBSCRIBE", id="1")
    client.request("SUBSCRIBE", id="1", destination=f"{queue}.other")


def test_an_id_that_is_not_subscribed_cannot_be_unsubscribed(connect, version):
    connect(version).refused("UNSUBSCRIBE", id="nobody")


def test_nothing_comes_after_unsubscribe(connect, queue, version):
    client = connect(version)
    client.request("SUBSCRIBE", id="1", destination=queue)
    client.request("UNSUBSCRIBE", id="1")
    client.request("SEND", "x", destination=queue)
    assert client.nothing_comes()


def test_prefetch_bounds_what_is_not_acknowledged(connect, queue, version):
    client = connect(version)
    fill(client, queue, 10)
    client.request("SUBSCRIBE", id="1", destination=queue, ack="client-individual", more=[("activemq.prefetchSize", "3")])
    first = client.messages(3)
    assert client.nothing_comes()
    client.send("ACK", **ack_headers(version, first[1], "1"))
    assert client.expect("MESSAGE").body == b"3"
    assert client.nothing_comes()


def test_the_default_prefetch_of_a_queue_is_1000(connect, queue):
    client = connect()
    fill(client, queue, 1_010)
    client.request("SUBSCRIBE", id="1", destination=queue, ack="client")
    first = client.messages(1_000)
    assert client.nothing_comes()
    client.send("ACK", id=first[9]["ack"])
    assert [message.body for message in client.messages(10)] == [str(number).encode() for number in range(1_000, 1_010)]


def test_the_default_prefetch_of_a_topic_is_32766(connect, topic):
    sender, receiver = connect(), connect()
    receiver.request("SUBSCRIBE", id="1", destination=topic, ack="client-individual")
    one = sender.encode("SEND", "x", destination=topic)
    for number in range(10):
        sender.write(one * 3_300)
        got = receiver.messages(min(3_300, 32_766 - 3_300 * number))
    assert receiver.nothing_comes()
    receiver.send("ACK", id=got[0]["ack"])
    receiver.expect("MESSAGE")
    assert receiver.nothing_comes()


@pytest.mark.parametrize("prefetch", ["0", "-1", "32768", "many", ""])
def test_a_prefetch_of_zero_or_nonsense_is_refused(connect, queue, version, prefetch):
    more = [("activemq.prefetchSize", prefetch)]
    assert "activemq.prefetchSize" in connect(version).refused("SUBSCRIBE", id="1", destination=queue, more=more)["message"]


@pytest.mark.parametrize("header, value", REFUSED_HEADERS, ids=[header for header, _ in REFUSED_HEADERS])
def test_a_header_the_broker_cannot_do_yet_is_refused_by_name(connect, queue, version, header, value):
    client = connect(version)
    error = client.refused("SUBSCRIBE", id="1", destination=queue, more=[(header, value)])
    assert header in error["message"]
    # The refused frame had no effect.
    client.request("SEND", "x", destination=queue)
    assert client.nothing_comes()


def test_a_header_that_asks_for_the_default_is_taken(connect, queue, version):
    more = [("activemq.exclusive", "false"), ("activemq.dispatchAsync", "true"), ("activemq.priority", "0"), ("no-local", "false")]
    connect(version).request("SUBSCRIBE", id="1", destination=queue, more=more)


@pytest.mark.parametrize("version", ["1.1", "1.2"])
@pytest.mark.parametrize("persistent", ["true", "false"])
def test_a_browser_gets_copies_and_ends_with_browser_end(connect, queue, version, persistent):
    client = connect(version)
    fill(client, queue, 30, persistent)
    for _ in range(2):
        client.request("SUBSCRIBE", id="b", destination=queue, browser="true")
        copies = client.messages(31)
        end = copies.pop()
        assert end["browser"] == "end" and end["subscription"] == "b" and end.body == b""
        assert [copy.body for copy in copies] == [str(number).encode() for number in range(30)]
        client.request("UNSUBSCRIBE", id="b")
    client.request("SUBSCRIBE", id="c", destination=queue)
    taken = client.messages(30)
    assert [message.body for message in taken] == [str(number).encode() for number in range(30)]
    assert all("redelivered" not in message for message in taken), "a look is no delivery"


def test_a_browser_sees_what_is_in_flight(connect, browse, queue):
    client = connect()
    client.request("SUBSCRIBE", id="1", destination=queue, ack="client")
    for number in range(5):
        client.send("SEND", str(number), destination=queue, persistent="true")
    client.messages(5)
    assert len(browse(queue)) == 5


@pytest.mark.parametrize("version", ["1.1", "1.2"])
def test_a_browser_of_a_large_queue_sees_all_of_it(connect, queue, version):
    client = connect(version)
    fill(client, queue, 2_500)
    assert len(client.browse(queue)) == 2_500


def test_a_browser_needs_a_queue_and_1_1(connect, queue, topic, version):
    client = connect(version)
    client.refused("SUBSCRIBE", id="1", destination=topic, browser="true")
    if version == "1.0":
        assert "1.1" in client.refused("SUBSCRIBE", id="1", destination=queue, browser="true")["message"]
    else:
        assert client.browse(queue) == []


def test_competing_consumers_share_a_queue(connect, queue, version):
    consumers = [connect(version) for _ in range(3)]
    for client in consumers:
        client.request("SUBSCRIBE", id="1", destination=queue, more=[("activemq.prefetchSize", "10")])
    sender = connect(version)
    fill(sender, queue, 60)
    bodies = [message.body for _, message in collect(consumers, 60)]
    assert sorted(bodies) == sorted(str(number).encode() for number in range(60))
    assert all(client.nothing_comes(0.1) for client in consumers)


def test_stomp_py_subscribes_and_unsubscribes(stomp_py, queue, version):
    client = stomp_py(version)
    client.receipt("subscribe", queue, id="1", ack="client", headers={"activemq.prefetchSize": "2"})
    for _ in range(3):
        client.receipt("send", queue, "x", headers={"persistent": "true"})
    frames = [client.message(), client.message()]
    assert client.nothing_comes()
    client.ack(frames[1], "1")
    client.ack(client.message(), "1")
    client.receipt("unsubscribe", id="1")
