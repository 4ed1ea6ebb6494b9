"""Row "escaping": what a header may hold, in each version and between two of them."""

import pytest

from raw import VERSIONS

SPECIAL = {"1.1": "a:b\nc\\d", "1.2": "a:b\nc\\d\re"}


def round_trip(sender, receiver, queue, **sent):
    """The MESSAGE that a receiver gets for a SEND with these headers."""
    receiver.request("SUBSCRIBE", id="1", destination=queue)
    sender.request("SEND", "x", destination=queue, **sent)
    return receiver.expect("MESSAGE")


def test_1_0_has_no_escapes(connect, queue):
    message = round_trip(connect("1.0"), connect("1.0"), queue, odd="a\\nb\\cc\\\\d")
    assert message["odd"] == "a\\nb\\cc\\\\d", "the very bytes that were sent"


@pytest.mark.parametrize("version", ["1.1", "1.2"])
def test_a_version_reads_and_writes_its_escapes(connect, queue, version):
    client = connect(version)
    message = round_trip(client, client, queue, odd=SPECIAL[version], more=[("na:me", "v")])
    assert message["odd"] == SPECIAL[version]
    assert message["na:me"] == "v"


@pytest.mark.parametrize("reader", VERSIONS)
@pytest.mark.parametrize("writer", ["1.1", "1.2"])
def test_a_header_cannot_be_forged_for_a_consumer_of_another_version(connect, queue, writer, reader):
    forged = "x\npersistent:true\rsubscription:other"
    forged = forged if writer == "1.2" else forged.replace("\r", "")
    message = round_trip(connect(writer), connect(reader), queue, odd=forged)
    assert "persistent" not in message
    assert message.command == "MESSAGE" and message.body == b"x"
    if reader == "1.2" or (reader == "1.1" and writer == "1.1"):
        assert message["odd"] == forged


def test_escapes_do_not_count_in_connect(dial):
    client = dial()
    # Were it an escape, \q would be an undefined one, and \n would end the header.
    client.send("CONNECT", accept_version="1.2", host="a\\qb\\nc")
    client.expect("CONNECTED")


@pytest.mark.parametrize("version, escape", [("1.1", "\\t"), ("1.1", "\\r"), ("1.1", "\\"), ("1.2", "\\t"), ("1.2", "\\N"), ("1.2", "\\")])
def test_an_undefined_escape_is_an_error_and_a_close(connect, browse, queue, version, escape):
    client = connect(version)
    client.write(f"SEND\ndestination:{queue}\nodd:a{escape}\n\nx\0".encode())
    client.expect_error_and_close()
    assert browse(queue) == []


def test_the_first_of_repeated_headers_wins(connect, name, version):
    client = connect(version)
    client.request("SUBSCRIBE", id="1", destination=f"/queue/{name}.first")
    more = [("destination", f"/queue/{name}.second"), ("odd", "one"), ("odd", "two")]
    client.request("SEND", "x", destination=f"/queue/{name}.first", more=more)
    message = client.expect("MESSAGE")
    assert message["destination"] == f"/queue/{name}.first"
    assert [value for key, value in message.headers if key == "odd"] == ["one"]


def test_cr_lf_ends_a_line(connect, queue, version):
    client = connect(version)
    client.request("SUBSCRIBE", id="1", destination=queue)
    client.write(f"SEND\r\ndestination:{queue}\r\nodd:v\r\n\r\nx\r\n\0\r\n".encode())
    message = client.expect("MESSAGE")
    assert message["odd"] == "v"
    assert message.body == b"x\r\n", "line ends count in heads only"


def test_headers_are_utf_8(connect, queue, version):
    client = connect(version)
    message = round_trip(client, client, queue, more=[("größe", "日本語 ✓")])
    assert message["größe"] == "日本語 ✓"


@pytest.mark.parametrize("version", ["1.1", "1.2"])
def test_stomp_py_sends_and_gets_special_characters(stomp_py, queue, version):
    client = stomp_py(version)
    client.receipt("subscribe", queue, id="1")
    client.receipt("send", queue, "x", headers={"odd": SPECIAL[version]})
    assert client.message().headers["odd"] == SPECIAL[version]
