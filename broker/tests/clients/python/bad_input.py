"""Clients that misbehave: the broker never crashes, never grows without bound, and others lose nothing.

Each test runs beside bystanders that must go on, and ends with the same process still master in the
same epoch. Memory of the broker is printed before and after, and bounded generously: a leak of what
the tests send would be ten times the bound.
"""

import contextlib
import random
import resource
import time

import pytest

from bystander import Bystanders
from group import Group
from raw import Closed, Raw, VERSIONS

# So that the limit is reached in a test; the setting is 256 MiB.
MEMORY_LIMIT = 32 << 20

# What a broker may have in memory at any time here: the limit for messages, 64 MiB of commands on
# their way, 16 MiB of batches and as much of bodies, and what the allocator keeps.
RSS_MAX = 400 << 20

MAXIMUM_CONNECTIONS = 1_000
IDLE_CONNECTIONS = 2_000

RANDOM_FRAMES = 10_000

# Connections between accept and CONNECTED; the others wait in the listen backlog.
UNAUTHENTICATED_MAX = 200

# Seconds: many times what was measured, because test machines are slow and busy.
ANSWER_MAX = 30


@pytest.fixture(scope="module")
def group():
    """A group of its own: what is left behind here is nobody else's."""
    config = {"systemUsage.memoryLimit": MEMORY_LIMIT, "transports.stomp.maximumConnections": MAXIMUM_CONNECTIONS}
    with Group(replicas=3, config=config) as group:
        group.wait_in_step()
        yield group


@pytest.fixture(scope="module")
def bystanders(group):
    bystanders = Bystanders(group.address())
    yield bystanders
    bystanders.finish()


@pytest.fixture(autouse=True)
def unharmed(group, bystanders, request, capsys):
    """The master is the same process in the same epoch after the test, and others are served."""
    before = group.master()
    rss_before = group.rss(before["pid"])
    yield
    bystanders.go_on()
    after = group.master()
    assert (after["pid"], after["epoch"]) == (before["pid"], before["epoch"]), "the master changed"
    rss_after = group.rss(after["pid"])
    with capsys.disabled():
        print(f"\n  {request.node.name}: the broker has {rss_before >> 20} MiB before, {rss_after >> 20} MiB after", end=" ")
    assert rss_after < RSS_MAX


# === frames that are none ===

NONSENSE = {
    "an unknown command": b"PUBLISH\n\nx\0",
    "a frame of 11 MB": b"SEND\ndestination:/queue/bad\ncontent-length:11000000\n\n" + b"x" * 11_000_000 + b"\0",
    "a frame of 11 MB without a length": b"SEND\ndestination:/queue/bad\n\n" + b"x" * 11_000_000 + b"\0",
    "a header of 1 MB": b"SEND\ndestination:/queue/bad\nh:" + b"x" * 1_000_000 + b"\n\nx\0",
    "a command of 1 MB": b"S" * 1_000_000,
    "100,000 headers": b"SEND\n" + b"h:x\n" * 100_000 + b"\nx\0",
    "a negative content-length": b"SEND\ndestination:/queue/bad\ncontent-length:-5\n\nx\0",
    "a content-length that wraps": b"SEND\ndestination:/queue/bad\ncontent-length:18446744073709551617\n\nx\0",
    "a content-length that is too short": b"SEND\ndestination:/queue/bad\ncontent-length:2\n\nxxxx\0",
    "zeros": b"\0" * 1_000_000,
    "no UTF-8": b"SEND\ndestination:/queue/\xc3\x28\n\nx\0",
}


@pytest.mark.parametrize("bytes", NONSENSE.values(), ids=NONSENSE.keys())
def test_nonsense_is_an_error_and_a_close(group, bytes, version):
    with Raw.connect(group.address(), version) as client:
        write_until_closed(client, bytes)
        client.expect_error_and_close()
    with Raw.connect(group.address()) as client:
        assert client.browse("/queue/bad") == []


@pytest.mark.parametrize("bytes", [*NONSENSE.values(), b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"], ids=[*NONSENSE, "TLS"])
def test_bytes_before_connect_are_an_error_and_a_close(group, bytes):
    with Raw(group.address()) as client:
        write_until_closed(client, bytes)
        client.expect_error_and_close()


def write_until_closed(client, bytes):
    """The broker need not take to the end what it does not want."""
    with contextlib.suppress(OSError):
        client.write(bytes)


def test_a_content_length_beyond_what_follows_waits_and_costs_nothing(group):
    """Whoever announces 10 MB and sends nothing must not be given 10 MB."""
    pid = group.master()["pid"]
    before = group.rss(pid)
    clients = [Raw.connect(group.address()) for _ in range(100)]
    for client in clients:
        client.write(b"SEND\ndestination:/queue/bad\ncontent-length:10000000\n\nx")
    assert Raw.connect(group.address()).browse("/queue/bad") == []
    assert group.rss(pid) - before < 200 << 20
    for client in clients:
        client.close()


# === random frames ===

COMMANDS = ["CONNECT", "STOMP", "SEND", "SUBSCRIBE", "UNSUBSCRIBE", "ACK", "NACK", "BEGIN", "COMMIT", "ABORT", "DISCONNECT", "MESSAGE", ""]
NAMES = ["destination", "id", "ack", "receipt", "transaction", "message-id", "subscription", "persistent", "expires", "priority",
         "content-length", "selector", "browser", "activemq.prefetchSize", "reply-to", "accept-version", "heart-beat", "login", "odd"]
VALUES = ["/queue/random", "/topic/random", "/temp-queue/random", "/queue/*", "random", "1", "0", "-1", "auto", "client",
          "client-individual", "true", "false", "99999999999999999999", "", "t", "1-1", "ID:a-1-1", "\\n", "\\x", "é", "x" * 500]


def random_frame(draw):
    """Mostly nearly right: what is wrong at once is refused at once."""
    headers = [(draw.choice(NAMES), draw.choice(VALUES)) for _ in range(draw.randrange(6))]
    if draw.random() < 0.7:
        headers.insert(0, ("destination", draw.choice(VALUES[:3])))
    lines = [draw.choice(COMMANDS), *(f"{name}:{value}" for name, value in headers), "", ""]
    frame = "\n".join(lines).encode() + draw.randbytes(draw.randrange(50)).replace(b"\0", b"") + b"\0"
    if draw.random() < 0.1:
        at = draw.randrange(len(frame))
        frame = frame[:at] + draw.randbytes(draw.randrange(4)) + frame[at + draw.randrange(4) :]
    return frame


def test_10_000_random_frames_harm_nobody(group, capsys):
    seed = random.randrange(1 << 32)
    draw = random.Random(seed)
    with capsys.disabled():
        print(f"\n  seed {seed}", end="")
    address = group.address()
    sent = connections = 0
    while sent < RANDOM_FRAMES:
        with Raw.connect(address, draw.choice(VERSIONS)) as client:
            connections += 1
            sent += write_frames(client, draw, RANDOM_FRAMES - sent)
    with capsys.disabled():
        print(f": {sent} frames on {connections} connections", end="")


def write_frames(client, draw, most):
    """Writes random frames until the connection ends or so many were written: how many."""
    client.socket.settimeout(ANSWER_MAX)
    for sent in range(min(most, 200)):
        try:
            client.write(random_frame(draw))
            if sent % 10 == 9:
                drop_input(client)
        except (OSError, Closed):
            return sent + 1
    return sent + 1


def drop_input(client):
    client.socket.setblocking(False)
    try:
        while client.socket.recv(1 << 20):
            pass
        raise Closed
    except BlockingIOError:
        client.socket.settimeout(ANSWER_MAX)


# === clients that do not read ===


def test_a_consumer_that_never_reads_keeps_its_window_and_no_more(group):
    body = b"x" * 100_000
    lazy = Raw.connect(group.address())
    lazy.send("SUBSCRIBE", id="1", destination="/queue/lazy", ack="client-individual")
    with Raw.connect(group.address()) as other:
        for _ in range(800):
            other.send("SEND", body, destination="/queue/lazy", persistent="true", content_length=len(body))
        assert len(other.browse("/queue/lazy")) <= 800
        other.request("SEND", "last", destination="/queue/lazy", persistent="true")
    pid = group.master()["pid"]
    assert group.rss(pid) < RSS_MAX
    lazy.close()
    with Raw.connect(group.address()) as other:
        other.request("SUBSCRIBE", id="1", destination="/queue/lazy")
        assert sum(len(message.body) for message in other.messages(801)) == 800 * len(body) + 4


def test_a_client_that_never_reads_its_answers_is_not_read_any_more(group):
    """Back-pressure: what it may write is bounded by buffers."""
    with Raw.connect(group.address()) as client:
        frame = client.encode("SEND", destination="/topic/nobody", receipt="r" * 1_000) * 100
        client.socket.settimeout(3)
        written = 0
        with pytest.raises(TimeoutError):
            while True:
                written += client.socket.send(frame)
                assert written < 200 << 20, "it is read without end"


def test_a_subscriber_that_never_reads_fills_the_limit_then_sends_are_refused(group):
    body = b"x" * 50_000
    lazy = Raw.connect(group.address())
    lazy.request("SUBSCRIBE", id="1", destination="/topic/lazy")
    with Raw.connect(group.address()) as sender:
        for count in range(2 * MEMORY_LIMIT // len(body)):
            sender.send("SEND", body, destination="/topic/lazy", receipt=str(count), content_length=len(body))
            answer = sender.read()
            if answer.command == "ERROR":
                break
        assert answer.command == "ERROR" and "memory limit" in answer["message"]
        assert answer["receipt-id"] == str(count)
        # What is persistent needs none of it.
        sender.request("SEND", "x", destination="/queue/lazy.persistent", persistent="true")
        lazy.close()
        deadline = time.monotonic() + ANSWER_MAX
        while True:
            sender.send("SEND", body, destination="/queue/lazy.room", receipt="room", content_length=len(body))
            if sender.read().command == "RECEIPT":
                return
            assert time.monotonic() < deadline, "the memory is not given back"


def wait_done(client):
    """Waits until everything that was written is answered, by RECEIPT or ERROR."""
    client.send("BEGIN", transaction="t", receipt="done")
    while client.read()["receipt-id"] != "done":
        pass


HEADS = {
    "repeated headers": [("odd", "x" * 10_000)] * 990,
    "headers of the broker": [(name, "x" * 10_000) for name in ("message-id", "redelivered", "subscription", "JMSXUserID")],
    "a long correlation-id and type": [("correlation-id", "x" * 10_000), ("type", "x" * 10_000)],
}


@pytest.mark.parametrize("more", HEADS.values(), ids=HEADS.keys())
def test_headers_that_nobody_gets_take_no_memory_for_long(group, more):
    """A message that is held must not keep its whole frame alive beyond what the limit counts."""
    pid = group.master()["pid"]
    before = group.rss(pid)
    total = 600 << 20
    lazy = Raw.connect(group.address())
    lazy.request("SUBSCRIBE", id="1", destination="/topic/heads", ack="client-individual", more=[("activemq.prefetchSize", "1")])
    with Raw.connect(group.address()) as sender:
        frame = sender.encode("SEND", "x", destination="/topic/heads", more=more)
        for _ in range(total // len(frame)):
            sender.write(frame)
            drop_input(sender)
        wait_done(sender)
    grown = group.rss(pid) - before
    lazy.close()
    assert grown < 150 << 20, f"{grown >> 20} MiB more"


# === too many ===


@contextlib.contextmanager
def files(least):
    """So many file descriptors may be open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert hard >= least, f"the test needs {least} open files, ulimit -Hn allows {hard}"
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, least), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_of_2_000_idle_connections_maximum_connections_are_served_and_the_rest_told(group, capsys):
    address = group.address()
    with files(IDLE_CONNECTIONS + 200), contextlib.ExitStack() as open_ones:
        served, refusals = [], []
        for _ in range(IDLE_CONNECTIONS):
            client = open_ones.enter_context(Raw(address))
            client.send("CONNECT", accept_version="1.2", host="test")
            began = time.monotonic()
            client.expect("CONNECTED")
            error = error_of(client)
            if error is None:
                served.append(client)
            else:
                assert "maximumConnections" in error["message"] and str(MAXIMUM_CONNECTIONS) in error["message"]
                client.expect_close()
                refusals.append(time.monotonic() - began)
        with capsys.disabled():
            print(f"\n  {len(served)} served, {len(refusals)} refused within {max(refusals) * 1000:.0f} ms", end="")
        assert len(served) == MAXIMUM_CONNECTIONS - Bystanders.CONNECTIONS
        assert max(refusals) < 1
        for client in served:
            client.check_usable()
    # Their places are free again.
    deadline = time.monotonic() + ANSWER_MAX
    while True:
        with Raw.connect(address) as client:
            if error_of(client) is None:
                break
        assert time.monotonic() < deadline
    client = Raw.connect(address)
    client.close()


def error_of(client):
    """The ERROR that follows CONNECTED, None for a connection that is served."""
    receipt = "served"
    with contextlib.suppress(OSError):
        client.send("BEGIN", transaction="t", receipt=receipt)
    frame = client.read()
    if frame.command == "ERROR":
        return frame
    assert (frame.command, frame["receipt-id"]) == ("RECEIPT", receipt)
    client.request("ABORT", transaction="t")
    return None


def test_slow_handshakes_end_and_keep_nobody_out(group, capsys):
    """A byte now and then, or a request of another protocol and silence, on as many connections as
    may be between accept and CONNECTED."""
    address = group.address()
    slow = {Raw(address) for _ in range(UNAUTHENTICATED_MAX)}
    for number, client in enumerate(slow):
        client.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" if number % 2 else b"CONN")
    began = time.monotonic()
    newcomer = Raw(address)
    newcomer.send("CONNECT", accept_version="1.2", host="test")
    while slow:
        assert time.monotonic() < began + 2 * ANSWER_MAX, f"{len(slow)} slow handshakes are still open"
        time.sleep(0.2)
        slow = {client for client in slow if is_open(client)}
    newcomer.expect("CONNECTED")
    newcomer.check_usable()
    newcomer.close()
    with capsys.disabled():
        print(f"\n  the slow ones ended and the newcomer was let in after {time.monotonic() - began:.1f} s", end="")


def is_open(client):
    """Writes one byte more and looks whether the broker has had enough."""
    try:
        client.write(b"x")
        drop_input(client)
    except (OSError, Closed):
        client.close()
        return False
    return True


def test_connections_that_come_and_go_leave_nothing(group):
    address = group.address()
    pid = group.master()["pid"]
    for _ in range(1_000):
        client = Raw(address)
        client.send("CONNECT", accept_version="1.2", host="test")
        client.send("SUBSCRIBE", id="1", destination="/queue/come.and.go", ack="client")
        client.abort()
    before = group.rss(pid)
    for _ in range(2_000):
        client = Raw(address)
        client.send("CONNECT", accept_version="1.2", host="test")
        client.send("SUBSCRIBE", id="1", destination="/queue/come.and.go", ack="client")
        client.abort()
    with Raw.connect(address) as client:
        client.check_usable()
    assert group.rss(pid) - before < 50 << 20
