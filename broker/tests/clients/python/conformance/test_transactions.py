"""Row "transactions": per connection, several at once, bounded."""

import pytest

from raw import ack_headers

OPEN_MAX = 100
OPERATIONS_MAX = 10_000
BYTES_MAX = 64 << 20


def bodies(messages):
    return [message.body.decode() for message in messages]


@pytest.mark.parametrize("persistent", ["true", "false"])
def test_commit_delivers_all_in_order_and_abort_nothing(connect, queue, version, persistent):
    client = connect(version)
    client.request("SUBSCRIBE", id="1", destination=queue)
    for end in ("ABORT", "COMMIT"):
        client.request("BEGIN", transaction="t")
        for number in range(5):
            client.send("SEND", f"{end} {number}", destination=queue, transaction="t", persistent=persistent)
        assert client.nothing_comes()
        client.send(end, transaction="t")
    assert bodies(client.messages(5)) == [f"COMMIT {number}" for number in range(5)]
    assert client.nothing_comes()


def test_topic_messages_wait_for_commit_too(connect, topic, version):
    client = connect(version)
    client.request("SUBSCRIBE", id="1", destination=topic)
    client.request("BEGIN", transaction="t")
    client.send("SEND", "x", destination=topic, transaction="t")
    assert client.nothing_comes()
    client.send("COMMIT", transaction="t")
    assert client.expect("MESSAGE").body == b"x"


def test_several_are_open_at_once(connect, browse, queue, version):
    client = connect(version)
    for name in "abc":
        client.request("BEGIN", transaction=name)
    for name in "abcab":
        client.request("SEND", name, destination=queue, transaction=name, persistent="true")
    client.request("COMMIT", transaction="b")
    assert bodies(browse(queue)) == ["b", "b"]
    client.request("ABORT", transaction="a")
    client.request("COMMIT", transaction="c")
    assert sorted(bodies(browse(queue))) == ["b", "b", "c"]


def test_a_send_outside_overtakes_one_that_waits_for_commit(connect, queue, version):
    client = connect(version)
    client.request("SUBSCRIBE", id="1", destination=queue)
    client.request("BEGIN", transaction="t")
    client.request("SEND", "inside", destination=queue, transaction="t", persistent="true")
    client.send("SEND", "outside", destination=queue, persistent="true")
    assert client.expect("MESSAGE").body == b"outside"
    client.send("COMMIT", transaction="t")
    assert client.expect("MESSAGE").body == b"inside"


def test_names_belong_to_their_connection(connect, browse, queue, version):
    one, two = connect(version), connect(version)
    for client in (one, two):
        client.request("BEGIN", transaction="same")
        client.request("SEND", "x", destination=queue, transaction="same", persistent="true")
    one.request("ABORT", transaction="same")
    two.request("COMMIT", transaction="same")
    assert len(browse(queue)) == 1


@pytest.mark.parametrize("command", ["COMMIT", "ABORT", "SEND"])
def test_an_unknown_transaction_is_refused(connect, browse, queue, version, command):
    client = connect(version)
    assert "nobody" in client.refused(command, "x", destination=queue, transaction="nobody", persistent="true")["message"]
    client.request("BEGIN", transaction="t")
    client.request("COMMIT", transaction="t")
    client.refused(command, "x", destination=queue, transaction="t", persistent="true")
    assert browse(queue) == []


@pytest.mark.parametrize("command", ["BEGIN", "COMMIT", "ABORT"])
def test_no_name_is_refused(connect, version, command):
    assert "transaction" in connect(version).refused(command)["message"]


def test_a_name_in_use_is_refused(connect, version):
    client = connect(version)
    client.request("BEGIN", transaction="t")
    client.refused("BEGIN", transaction="t")
    client.request("COMMIT", transaction="t")


def test_an_ack_counts_with_commit(connect, browse, queue, version):
    client = connect(version)
    client.request("SUBSCRIBE", id="1", destination=queue, ack="client-individual")
    client.send("SEND", "in", destination=queue, persistent="true")
    message = client.expect("MESSAGE")
    client.request("BEGIN", transaction="t")
    client.request("ACK", transaction="t", **ack_headers(version, message, "1"))
    client.request("SEND", "out", destination=f"{queue}.out", transaction="t", persistent="true")
    assert (len(browse(queue)), len(browse(f"{queue}.out"))) == (1, 0)
    client.request("COMMIT", transaction="t")
    assert (len(browse(queue)), len(browse(f"{queue}.out"))) == (0, 1)


@pytest.mark.parametrize("version", ["1.1", "1.2"])
def test_a_nack_counts_with_commit(connect, browse, dead_letters, queue, version):
    client = connect(version)
    client.request("SUBSCRIBE", id="1", destination=queue, ack="client-individual")
    client.send("SEND", "poison", destination=queue, persistent="true")
    message = client.expect("MESSAGE")
    client.request("BEGIN", transaction="t")
    client.request("NACK", transaction="t", **ack_headers(version, message, "1"))
    assert dead_letters(queue, count=0) == []
    client.request("COMMIT", transaction="t")
    assert bodies(dead_letters(queue)) == ["poison"]
    assert browse(queue) == []


def test_after_abort_acked_messages_stay_with_the_consumer_not_acked(connect, browse, queue, version):
    client, other = connect(version), connect(version)
    client.request("SUBSCRIBE", id="1", destination=queue, ack="client-individual")
    client.send("SEND", "x", destination=queue, persistent="true")
    message = client.expect("MESSAGE")
    other.request("SUBSCRIBE", id="1", destination=queue)
    client.request("BEGIN", transaction="t")
    client.request("ACK", transaction="t", **ack_headers(version, message, "1"))
    client.request("ABORT", transaction="t")
    assert client.nothing_comes() and other.nothing_comes()
    assert len(browse(queue)) == 1
    client.request("ACK", **ack_headers(version, message, "1"))
    assert browse(queue) == []


@pytest.mark.parametrize("leave", ["abort", "disconnect"])
def test_the_end_of_the_connection_rolls_back(connect, browse, queue, version, leave):
    client, other = connect(version), connect(version)
    client.request("SEND", "before", destination=queue, persistent="true")
    client.request("SUBSCRIBE", id="1", destination=queue, ack="client")
    message = client.expect("MESSAGE")
    client.request("BEGIN", transaction="t")
    client.request("SEND", "never", destination=queue, transaction="t", persistent="true")
    client.request("ACK", transaction="t", **ack_headers(version, message, "1"))
    if leave == "abort":
        client.abort()
    else:
        client.request("DISCONNECT")
    other.request("SUBSCRIBE", id="1", destination=queue, ack="client")
    again = other.expect("MESSAGE")
    assert (again.body, again["redelivered"]) == (b"before", "true")
    assert other.nothing_comes()
    assert bodies(browse(queue)) == ["before"]


def test_at_most_100_are_open(connect, version):
    client = connect(version)
    for number in range(OPEN_MAX):
        client.request("BEGIN", transaction=f"t{number}")
    assert str(OPEN_MAX) in client.refused("BEGIN", transaction="one more")["message"]
    client.request("COMMIT", transaction="t0")
    client.request("BEGIN", transaction="one more")


@pytest.mark.parametrize("persistent", ["true", "false"])
def test_at_most_10_000_messages_are_uncommitted(connect, browse, queue, persistent):
    client = connect()
    client.request("BEGIN", transaction="t")
    one = client.encode("SEND", "x", destination=queue, transaction="t", persistent=persistent)
    client.write(one * (OPERATIONS_MAX - 1))
    client.request("SEND", "last", destination=queue, transaction="t", persistent=persistent)
    error = client.refused("SEND", "one more", destination=queue, transaction="t", persistent=persistent)
    assert str(OPERATIONS_MAX) in error["message"]
    client.request("COMMIT", transaction="t")
    assert len(browse(queue)) == OPERATIONS_MAX
    client.request("BEGIN", transaction="t")
    client.request("SEND", "room again", destination=queue, transaction="t", persistent=persistent)


def test_at_most_64_mib_are_uncommitted(connect, browse, queue):
    body = b"x" * (8 << 20)
    client = connect()
    client.request("BEGIN", transaction="t")
    # Headers count too, so the eighth does not fit.
    for _ in range(BYTES_MAX // len(body) - 1):
        client.request("SEND", body, destination=queue, transaction="t", content_length=len(body))
    error = client.refused("SEND", body, destination=queue, transaction="t", content_length=len(body))
    assert str(BYTES_MAX) in error["message"]
    client.request("ABORT", transaction="t")
    assert browse(queue) == []


def test_stomp_py_commits_and_aborts(stomp_py, queue, version):
    client = stomp_py(version)
    client.receipt("subscribe", queue, id="1")
    for end in ("abort", "commit"):
        transaction = client.connection.begin()
        client.receipt("send", queue, end, headers={"transaction": transaction, "persistent": "true"})
        getattr(client.connection, end)(transaction)
    assert client.message().body == "commit"
    assert client.nothing_comes()
