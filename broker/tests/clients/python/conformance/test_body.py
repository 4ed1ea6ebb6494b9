"""Row "body": where a body ends, and whether it is text."""

import pytest

ODD_BODY = b"a\0b\n\n\0MESSAGE\n\n\0\xff\xfe"


def test_content_length_counts_bytes_and_a_nul_may_be_inside(connect, queue, version):
    client = connect(version)
    client.request("SUBSCRIBE", id="1", destination=queue)
    client.request("SEND", ODD_BODY, destination=queue, content_length=len(ODD_BODY))
    assert client.expect("MESSAGE").body == ODD_BODY


def test_without_content_length_the_body_ends_at_nul(connect, queue, version):
    client = connect(version)
    client.request("SUBSCRIBE", id="1", destination=queue)
    client.write(f"SEND\ndestination:{queue}\n\nfirst\0\n\nSEND\ndestination:{queue}\n\nsecond\0".encode())
    assert [message.body for message in client.messages(2)] == [b"first", b"second"]


def test_a_bytes_message_comes_back_with_its_length(connect, queue, version):
    client = connect(version)
    client.request("SUBSCRIBE", id="1", destination=queue)
    client.request("SEND", b"12345", destination=queue, content_length=5)
    assert client.expect("MESSAGE")["content-length"] == "5"


def test_a_text_message_comes_back_without_content_length_in_1_0(connect, queue, version):
    client = connect(version)
    client.request("SUBSCRIBE", id="1", destination=queue)
    client.request("SEND", "grüße", destination=queue)
    message = client.expect("MESSAGE")
    assert message.body.decode() == "grüße"
    if version == "1.0":
        assert "content-length" not in message
    else:
        assert message["content-length"] in (None, "7")


def test_an_empty_body_is_a_body(connect, queue, version):
    client = connect(version)
    client.request("SUBSCRIBE", id="1", destination=queue)
    client.send("SEND", destination=queue)
    client.send("SEND", destination=queue, content_length=0)
    assert [message.body for message in client.messages(2)] == [b"", b""]


@pytest.mark.parametrize("size", [1_000_000, 10_000_000])
def test_large_bodies_arrive_whole(connect, queue, size):
    body = bytes(range(256)) * (size // 256)
    client = connect()
    client.request("SUBSCRIBE", id="1", destination=queue, ack="client")
    for _ in range(3):
        client.send("SEND", body, destination=queue, content_length=len(body), persistent="true", receipt="1")
    bodies = 0
    receipts = 0
    while bodies < 3 or receipts < 3:
        frame = client.read()
        receipts += frame.command == "RECEIPT"
        if frame.command == "MESSAGE":
            assert frame.body == body
            bodies += 1
            client.send("ACK", id=frame["ack"])


def test_stomp_py_carries_text_and_bytes(stomp_py, queue, version):
    client = stomp_py(version)
    client.receipt("subscribe", queue, id="1")
    for body in ["grüße", "", "a\nb\n\n"]:
        client.receipt("send", queue, body)
        assert client.message().body == body
    # stomp.py sends a length with everything; \0 needs it.
    client.receipt("send", queue, "a\0b")
    assert client.message().body == "a\0b"
