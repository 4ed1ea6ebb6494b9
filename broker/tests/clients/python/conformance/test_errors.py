"""Row "ERROR": what ends the connection, and what does not."""

import pytest

PROTOCOL_ERRORS = {
    "unknown command": b"PUBLISH\ndestination:/queue/never\n\nx\0",
    "a command in lower case": b"send\ndestination:/queue/never\n\nx\0",
    "a word that begins with a command": b"SENDX\ndestination:/queue/never\n\nx\0",
    "a command of the server": b"MESSAGE\ndestination:/queue/never\n\nx\0",
    "a header without a colon": b"SEND\ndestination:/queue/never\nnonsense\n\nx\0",
    "a content-length that is too short": b"SEND\ndestination:/queue/never\ncontent-length:1\n\nxxx\0",
    "a content-length that is negative": b"SEND\ndestination:/queue/never\ncontent-length:-1\n\nx\0",
    "a content-length that is no number": b"SEND\ndestination:/queue/never\ncontent-length:one\n\nx\0",
    "a content-length beyond the limit": b"SEND\ndestination:/queue/never\ncontent-length:99999999999999999999\n\nx\0",
    "a header that is not UTF-8": b"SEND\ndestination:/queue/never\nodd:\xff\xfe\n\nx\0",
    "NUL in a head": b"SEND\ndestination:/queue/ne\0ver\n\nx\0",
    "a body without a head": b"\0",
}


@pytest.mark.parametrize("frame", PROTOCOL_ERRORS.values(), ids=PROTOCOL_ERRORS.keys())
def test_a_protocol_error_is_an_error_then_a_close(connect, browse, queue, version, frame):
    client = connect(version)
    client.request("SEND", "before", destination=queue, persistent="true")
    client.write(frame)
    client.expect_error_and_close()
    assert len(browse(queue)) == 1, "what was answered before stays"
    assert browse("/queue/never") == []


def test_frames_after_a_protocol_error_have_no_effect(connect, browse, queue, version):
    client = connect(version)
    after = client.encode("SEND", "after", destination=queue, persistent="true")
    client.write(b"NONSENSE\n\n\0" + after)
    client.expect_error_and_close()
    assert browse(queue) == []


def test_an_unknown_command_is_named_with_what_is_allowed(connect, version):
    client = connect(version)
    client.write(b"PUBLISH\n\n\0")
    message = client.expect_error_and_close()["message"]
    assert "PUBLISH" in message and "SUBSCRIBE" in message


def test_a_refusal_has_no_effect_and_the_connection_stays(connect, browse, queue, version):
    client = connect(version)
    client.refused("SEND", "x", destination=queue, persistent="maybe")
    client.refused("SEND", "x", destination=queue, transaction="none")
    client.refused("SEND", "x")
    client.refused("SUBSCRIBE", id="1", destination=queue, selector="a = 1")
    assert browse(queue) == []
    client.request("SEND", "x", destination=queue)
    assert client.nothing_comes()


def test_a_refusal_is_said_without_a_receipt_too(connect, queue, version):
    client = connect(version)
    client.send("SEND", "x", destination=queue, persistent="maybe")
    error = client.expect("ERROR")
    assert "receipt-id" not in error and "persistent" in error["message"]
    client.check_usable()


def test_refusals_and_answers_keep_their_order(connect, queue, version):
    client = connect(version)
    frames = []
    for number in range(40):
        good = number % 2 == 0
        frames.append(client.encode("SEND", "x", destination=queue if good else "/queue/*", persistent="true", receipt=f"n{number}"))
    client.write(b"".join(frames))
    answers = [client.read() for _ in range(40)]
    kinds = {answer["receipt-id"]: answer.command for answer in answers}
    assert kinds == {f"n{number}": "RECEIPT" if number % 2 == 0 else "ERROR" for number in range(40)}


def test_the_body_of_an_error_says_the_same(connect, version):
    client = connect(version)
    client.write(b"NONSENSE\n\n\0")
    error = client.expect("ERROR")
    assert error.body.decode() == error["message"]


def test_an_error_does_not_repeat_more_of_the_client_than_helps(connect, version):
    client = connect(version)
    client.write(b"N" * 5_000 + b"\n\n\0")
    assert len(client.expect("ERROR")["message"]) < 1_100


def test_stomp_py_hears_of_a_refusal_and_goes_on(stomp_py, queue, version):
    client = stomp_py(version)
    client.connection.send("/queue/*", "x", headers={"receipt": "1"})
    error = client.error()
    assert error.headers["receipt-id"] == "1"
    assert "not supported yet" in error.headers["message"]
    client.receipt("send", queue, "x")
    assert not client.is_disconnected
