"""Row "heart-beat": agreed in CONNECT, kept in both directions. Times are only bounded from below,
or by a deadline: a busy machine is late."""

import time

import pytest

from raw import VERSIONS

HEART_BEATS = pytest.mark.parametrize("version", ["1.1", "1.2"])


def test_the_default_is_none(connect, version):
    assert connect(version).connected["heart-beat"] == "0,0"


@HEART_BEATS
def test_the_answer_takes_what_the_client_offers_and_wants(connect, version):
    client = connect(version, heart_beat="20000,30000")
    assert client.connected["heart-beat"] == "30000,20000"


@HEART_BEATS
@pytest.mark.parametrize("header", ["1000", "a,b", "-1,0", "1,2,3", ""])
def test_a_heart_beat_that_is_none_is_an_error_and_a_close(dial, version, header):
    client = dial(version)
    client.send("CONNECT", accept_version=version, host="test", heart_beat=header)
    client.expect_error_and_close()


@HEART_BEATS
def test_the_server_sends_what_it_promised(connect, version):
    client = connect(version, heart_beat="0,200")
    began = time.monotonic()
    client.wait_beats(5)
    assert time.monotonic() - began > 0.4, "five beats at once are no heart-beats"


@HEART_BEATS
def test_a_client_that_falls_silent_is_closed_after_twice_its_interval(connect, version):
    client = connect(version, heart_beat="500,0")
    began = time.monotonic()
    error = client.expect_error_and_close()
    assert "heart-beat" in error["message"]
    assert time.monotonic() - began > 0.9


def test_clients_that_beat_or_promised_nothing_stay(connect, stomp_py, browse, queue):
    """All in one test: what is waited for is the same time."""
    beating = [connect(version, heart_beat="1000,0") for version in VERSIONS]
    quiet = [connect(version) for version in VERSIONS]
    theirs = [stomp_py(version, heartbeats=(1000, 500)) for version in ("1.1", "1.2")]
    for _ in range(15):
        for client in beating:
            client.write(b"\n")
        time.sleep(0.2)
    for client in beating + quiet:
        client.check_usable()
    for client in theirs:
        assert client.beats >= 2
        assert client.beats_missed == 0
        assert not client.is_disconnected
        # No receipt: stomp.py loses the frame that follows two line ends read at once.
        client.connection.send(queue, "still here")
    deadline = time.monotonic() + 20
    while len(browse(queue)) < len(theirs):
        assert time.monotonic() < deadline, "what stomp.py sent does not arrive"
