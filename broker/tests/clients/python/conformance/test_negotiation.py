"""Row "negotiation": CONNECT, the version that is agreed on, CONNECTED."""

import re

import pytest

from raw import Closed


@pytest.mark.parametrize("command", ["CONNECT", "STOMP"])
def test_connect_and_stomp_both_open_a_connection(dial, command, version):
    client = dial(version)
    client.send(command, accept_version=version, host="test")
    assert client.expect("CONNECTED")["version"] == version
    client.check_usable()


@pytest.mark.parametrize(
    "first",
    [
        b"SEND\ndestination:/queue/early\n\nlost\0",
        b"SUBSCRIBE\nid:1\ndestination:/queue/early\n\n\0",
        b"DISCONNECT\nreceipt:1\n\n\0",
        b"CONNECTED\nversion:1.2\n\n\0",
        b"connect\naccept-version:1.2\n\n\0",
    ],
    ids=["SEND", "SUBSCRIBE", "DISCONNECT", "CONNECTED", "lower-case"],
)
def test_anything_before_connect_is_an_error_and_a_close(dial, browse, first):
    client = dial()
    client.write(first)
    client.expect_error_and_close()
    assert browse("/queue/early") == []


def test_no_accept_version_means_1_0(dial):
    client = dial("1.0")
    client.send("CONNECT")
    assert client.expect("CONNECTED")["version"] == "1.0"


@pytest.mark.parametrize(
    "offered, taken",
    [("1.0,1.1,1.2", "1.2"), ("1.2,1.1,1.0", "1.2"), ("1.1,1.0", "1.1"), ("1.0", "1.0"), ("1.1,9.9", "1.1"), (" 1.0 , 1.2 ", "1.2")],
)
def test_the_highest_common_version_is_taken(dial, offered, taken):
    client = dial(taken)
    client.send("CONNECT", accept_version=offered, host="test")
    assert client.expect("CONNECTED")["version"] == taken


@pytest.mark.parametrize("offered", ["0.9", "2.0,3.0", "1", "", "one"])
def test_no_common_version_is_an_error_with_the_versions_and_a_close(dial, offered):
    client = dial()
    client.send("CONNECT", accept_version=offered, host="test")
    error = client.expect_error_and_close()
    assert error["version"] == "1.0,1.1,1.2"


def test_connected_carries_version_session_server_and_heart_beat(connect, version):
    connected = connect(version).connected
    assert connected["version"] == version
    assert connected["session"]
    assert re.fullmatch(r"TandemMQ/\d+\.\d+\.\d+\S*", connected["server"])
    assert connected["heart-beat"] == "0,0"


def test_every_connection_has_a_session_of_its_own(connect, version):
    sessions = {connect(version).connected["session"] for _ in range(3)}
    assert len(sessions) == 3


def test_a_second_connect_is_an_error_and_the_connection_stays(connect, version):
    client = connect(version)
    client.send("CONNECT", accept_version="1.0,1.1,1.2", host="test")
    assert "already connected" in client.expect("ERROR")["message"]
    client.check_usable()


def test_stomp_py_connects_in_its_version(stomp_py, version):
    client = stomp_py(version)
    assert client.connected.headers["version"] == version
    assert client.errors.empty()


def test_a_slave_refuses_at_once(group, dial):
    client = dial()
    client.close()
    master = group.master()["name"]
    for broker in group.brokers():
        if broker["name"] != master:
            host, port = broker["addresses"]["stomp"].split(":")
            with pytest.raises(ConnectionRefusedError):
                type(client)((host, int(port)))


def test_a_client_that_leaves_without_a_word_harms_nobody(dial, connect):
    for _ in range(20):
        client = dial()
        client.send("CONNECT", accept_version="1.2", host="test")
        client.abort()
    connect().check_usable()


def test_frames_sent_with_connect_are_done_after_it(dial, queue):
    client = dial()
    client.write(
        client.encode("CONNECT", accept_version="1.2", host="test")
        + client.encode("SEND", "hello", destination=queue, receipt="1")
        + client.encode("DISCONNECT", receipt="2")
    )
    client.expect("CONNECTED")
    assert client.expect("RECEIPT")["receipt-id"] == "1"
    assert client.expect("RECEIPT")["receipt-id"] == "2"
    with pytest.raises(Closed):
        client.read()
