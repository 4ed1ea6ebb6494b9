"""Row "SEND headers": what each header of a SEND becomes."""

import time

import pytest

TRANSIENT_ID = "-n"


@pytest.fixture
def pair(connect, queue, version):
    """Sends on one connection, gets on another; answers with the MESSAGE."""
    sender, receiver = connect(version), connect(version)
    receiver.request("SUBSCRIBE", id="1", destination=queue)

    def pair(body="x", more=(), **headers):
        sender.request("SEND", body, more=more, destination=queue, **headers)
        return receiver.expect("MESSAGE")

    return pair


def test_a_plain_send_is_not_persistent(pair):
    message = pair()
    assert "persistent" not in message
    assert TRANSIENT_ID in message["message-id"]
    assert TRANSIENT_ID in pair(persistent="false")["message-id"]


def test_persistent_true_makes_it_persistent(pair):
    message = pair(persistent="true")
    assert message["persistent"] == "true"
    assert TRANSIENT_ID not in message["message-id"]


@pytest.mark.parametrize("word", ["True", "yes", "1", ""])
def test_another_word_for_persistent_is_refused(connect, queue, version, word):
    assert "persistent" in connect(version).refused("SEND", destination=queue, persistent=word)["message"]


@pytest.mark.parametrize("header", ["expires", "priority", "timestamp"])
def test_a_number_that_is_none_is_refused(connect, queue, version, header):
    error = connect(version).refused("SEND", destination=queue, more=[(header, "soon")])
    assert header in error["message"]


def test_a_message_that_expired_is_not_delivered(connect, queue, version):
    client = connect(version)
    soon = int(time.time() * 1000) + 100
    client.request("SEND", "short", destination=queue, expires=soon)
    client.request("SEND", "long", destination=queue, expires=soon + 600_000)
    client.request("SEND", "for ever", destination=queue, expires=0)
    time.sleep(0.2)
    client.request("SUBSCRIBE", id="1", destination=queue)
    long, for_ever = client.messages(2)
    assert (long.body, long["expires"]) == (b"long", str(soon + 600_000))
    assert (for_ever.body, for_ever["expires"]) == (b"for ever", "0")
    assert client.nothing_comes()


def test_a_persistent_message_that_expired_goes_to_the_dead_letter_queue(connect, dead_letters, queue, version):
    client = connect(version)
    client.request("SEND", "late", destination=queue, persistent="true", expires=int(time.time() * 1000) + 50)
    time.sleep(0.1)
    # A consumer that comes by makes the master look; else it looks every 30 s.
    client.request("SUBSCRIBE", id="1", destination=queue)
    letter, = dead_letters(queue)
    assert letter.body == b"late"
    assert letter["dlqDeliveryFailureCause"]
    assert client.nothing_comes()


@pytest.mark.parametrize("sent, got", [(None, "4"), ("0", "0"), ("7", "7"), ("9", "9"), ("10", "9"), ("1000000", "9")])
def test_priority_is_kept_and_at_most_9(pair, sent, got):
    message = pair(priority=sent) if sent else pair()
    assert message["priority"] == got


def test_correlation_id_reply_to_and_type_come_back(pair):
    message = pair(correlation_id="c-1", reply_to="/queue/answers", type="order")
    assert (message["correlation-id"], message["reply-to"], message["type"]) == ("c-1", "/queue/answers", "order")


def test_a_reply_to_that_is_no_destination_is_a_text(pair):
    assert pair(reply_to="somebody")["reply-to"] == "somebody"


def test_timestamp_is_now_or_what_the_sender_says(pair):
    before = int(time.time() * 1000)
    assert before <= int(pair()["timestamp"]) <= int(time.time() * 1000)
    assert pair(timestamp="12345")["timestamp"] == "12345"


def test_every_other_header_is_a_property_in_the_order_it_came(pair):
    sent = [("z", "1"), ("a", "2"), ("Mixed-Case", "3"), ("content-type", "text/x"), ("JMSXGroupID", "g"), ("blank", "")]
    message = pair(more=sent)
    assert [each for each in message.headers if each in sent] == sent


def test_a_sender_cannot_set_the_brokers_headers(pair):
    forged = [("message-id", "ID:forged"), ("redelivered", "true"), ("subscription", "forged"), ("JMSXUserID", "root"), ("ack", "forged"), ("browser", "end")]
    message = pair(more=forged)
    assert message["message-id"] != "ID:forged"
    assert message["subscription"] == "1"
    for header in ("redelivered", "JMSXUserID", "ack", "browser"):
        assert header not in message


def test_receipt_and_transaction_are_used_up(connect, queue, version):
    client = connect(version)
    client.request("SUBSCRIBE", id="1", destination=queue)
    client.request("BEGIN", transaction="t")
    client.request("SEND", "x", destination=queue, transaction="t")
    client.send("COMMIT", transaction="t")
    message = client.expect("MESSAGE")
    assert "receipt" not in message and "transaction" not in message


def test_stomp_py_gets_back_what_it_sent(stomp_py, queue, version):
    client = stomp_py(version)
    client.receipt("subscribe", queue, id="1")
    sent = {"persistent": "true", "correlation-id": "c", "type": "t", "priority": "3", "own": "header"}
    client.receipt("send", queue, "body", headers=sent)
    headers = client.message().headers
    assert {key: headers[key] for key in sent} == sent
