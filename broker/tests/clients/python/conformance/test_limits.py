"""Row "limits": each at its edge. What is allowed works, one more is an error that names the limit.

How the broker stands clients that do not read, and many of them, is in `bad_input.py`.
"""

import pytest

FRAME_MAX = 10 << 20
EARLY_FRAME_MAX = 16 << 10
HEADERS_MAX = 1_000
HEADER_MAX = 10 << 10
NAME_MAX = 1 << 10
SUBSCRIPTIONS_MAX = 1_000


def frame_of(client, size, queue, **headers):
    """A SEND of exactly so many bytes, the NUL at its end included."""
    empty = client.encode("SEND", destination=queue, content_length=10_000_000, **headers)
    body = b"x" * (size - len(empty))
    frame = client.encode("SEND", body, destination=queue, content_length=str(len(body)).zfill(8), **headers)
    assert len(frame) == size
    return frame


def test_a_frame_has_at_most_10_mib(connect, queue, version):
    client = connect(version)
    client.request("SUBSCRIBE", id="1", destination=queue)
    client.write(frame_of(client, FRAME_MAX - 1_000, queue, persistent="true"))
    assert len(client.expect("MESSAGE").body) > FRAME_MAX - 2_000
    try:
        client.write(frame_of(client, FRAME_MAX + 1_000, queue))
    except OSError:
        pass  # The broker does not read to the end what it does not take.
    assert str(FRAME_MAX) in client.expect_error_and_close()["message"]


def test_a_frame_of_no_declared_length_has_at_most_10_mib(connect, queue):
    client = connect()
    try:
        client.write(f"SEND\ndestination:{queue}\n\n".encode() + b"x" * (FRAME_MAX + 1_000))
    except OSError:
        pass
    client.expect_error_and_close()


def test_before_connected_a_frame_has_at_most_16_kib(dial, version):
    lines = [(f"h{number}", "x" * 1_000) for number in range(20)]
    client = dial(version)
    client.send("CONNECT", accept_version=version, host="test", more=lines[:15])
    client.expect("CONNECTED")
    client = dial(version)
    client.send("CONNECT", accept_version=version, host="test", more=lines)
    assert str(EARLY_FRAME_MAX) in client.expect_error_and_close()["message"]


def test_a_frame_has_at_most_1000_headers(connect, queue, version):
    client = connect(version)
    client.request("SUBSCRIBE", id="1", destination=queue)
    more = [(f"h{number}", "x") for number in range(HEADERS_MAX - 1)]
    client.send("SEND", "x", destination=queue, more=more)
    assert client.expect("MESSAGE")["h998"] == "x"
    client.send("SEND", "x", destination=queue, more=[*more, ("one", "more")])
    assert str(HEADERS_MAX) in client.expect_error_and_close()["message"]


def test_one_header_has_at_most_10_kib(connect, queue, version):
    client = connect(version)
    client.request("SUBSCRIBE", id="1", destination=queue)
    most = HEADER_MAX - len("h:")
    client.send("SEND", "x", destination=queue, h="x" * most)
    assert len(client.expect("MESSAGE")["h"]) == most
    client.send("SEND", "x", destination=queue, h="x" * (most + 1))
    assert str(HEADER_MAX) in client.expect_error_and_close()["message"]


def test_a_name_has_at_most_1_kib(connect, version):
    client = connect(version)
    longest = "n" * NAME_MAX
    client.request("SUBSCRIBE", id="i" * NAME_MAX, destination=f"/queue/{longest}")
    client.request("BEGIN", transaction="t" * NAME_MAX)
    client.send("SEND", "x", destination=f"/queue/{longest}")
    assert client.expect("MESSAGE")["destination"] == f"/queue/{longest}"
    for command, headers in [
        ("SEND", {"destination": f"/queue/{longest}n"}),
        ("SUBSCRIBE", {"id": "2", "destination": f"/queue/{longest}n"}),
        ("SUBSCRIBE", {"id": "i" * (NAME_MAX + 1), "destination": "/queue/n"}),
        ("BEGIN", {"transaction": "t" * (NAME_MAX + 1)}),
    ]:
        assert str(NAME_MAX) in client.refused(command, **headers)["message"]


@pytest.mark.parametrize("bad", ["\x01", "a\tb", "\x7f"])
def test_control_characters_in_a_name_are_refused(connect, version, bad):
    connect(version).refused("SEND", destination=f"/queue/{bad}x")


def test_at_most_1000_subscriptions_are_open(connect, name, version):
    client = connect(version)
    frames = [client.encode("SUBSCRIBE", id=f"{number}", destination=f"/topic/{name}") for number in range(SUBSCRIPTIONS_MAX)]
    client.write(b"".join(frames))
    client.check_usable()
    error = client.refused("SUBSCRIBE", id="one more", destination=f"/topic/{name}")
    assert str(SUBSCRIPTIONS_MAX) in error["message"]
    client.request("UNSUBSCRIBE", id="0")
    client.request("SUBSCRIBE", id="one more", destination=f"/topic/{name}")
