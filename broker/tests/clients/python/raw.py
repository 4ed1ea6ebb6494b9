"""A STOMP client of which the test sees every byte.

    with Raw.connect(address, "1.2") as client:
        client.send("SUBSCRIBE", id="1", destination="/queue/Q")
        message = client.expect("MESSAGE")

`write` puts bytes on the socket as they are, `send` a frame with the escapes of the version. Frames
are read one by one; between them heart-beats are counted and dropped. Whatever is waited for has a
deadline. Headers of a frame that was read are a list, because their order and repetitions count;
`frame["name"]` is the first of a name, None if there is none.
"""

import contextlib
import itertools
import socket
import time

VERSIONS = ["1.0", "1.1", "1.2"]

# Seconds: many times what was measured, because test machines are slow and busy.
ANSWER_MAX = 20

ESCAPES = {
    "1.0": {},
    "1.1": {"\\": "\\\\", "\n": "\\n", ":": "\\c"},
    "1.2": {"\\": "\\\\", "\n": "\\n", ":": "\\c", "\r": "\\r"},
}

RECEIPTS = itertools.count(1)


class Closed(Exception):
    """The broker has closed the connection."""


class Frame:
    """What the broker sent."""

    def __init__(self, command, headers, body):
        self.command = command
        self.headers = headers
        self.body = body

    def __getitem__(self, name):
        return next((value for key, value in self.headers if key == name), None)

    def __contains__(self, name):
        return self[name] is not None

    def __repr__(self):
        return f"{self.command} {self.headers} {self.body[:80]!r}"


class Raw:
    """One connection."""

    def __init__(self, address, version="1.2"):
        self.socket = socket.create_connection(address, timeout=ANSWER_MAX)
        self.version = version
        self.beats = 0
        self._bytes = bytearray()

    @classmethod
    def connect(cls, address, version="1.2", **headers):
        """Connects and is let in."""
        client = cls(address, version)
        client.send("CONNECT", accept_version=version, host="test", **headers)
        client.connected = client.expect("CONNECTED")
        assert client.connected["version"] == version
        return client

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()

    def abort(self):
        """Ends the connection with a reset, as a process that dies with unread bytes."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.socket.close()

    # === writing ===

    def write(self, data):
        self.socket.sendall(data)

    def send(self, command, body=b"", more=(), **headers):
        """A frame; `accept_version=` becomes `accept-version:`, `more` are pairs taken as they are."""
        self.write(self.encode(command, body, more, **headers))

    def encode(self, command, body=b"", more=(), **headers):
        escapes = {} if command in ("CONNECT", "STOMP") else ESCAPES[self.version]
        pairs = [(name.replace("_", "-"), value) for name, value in headers.items()]
        lines = [command]
        for name, value in [*pairs, *more]:
            lines.append(f"{escape(name, escapes)}:{escape(str(value), escapes)}")
        head = "\n".join(lines) + "\n\n"
        return head.encode() + (body.encode() if isinstance(body, str) else body) + b"\0"

    def request(self, command, body=b"", more=(), **headers):
        """A frame and its RECEIPT; what came before the RECEIPT is the answer."""
        receipt = f"r{next(RECEIPTS)}"
        self.send(command, body, more, receipt=receipt, **headers)
        return self.until_receipt(receipt)

    def until_receipt(self, receipt):
        before = []
        while True:
            frame = self.read()
            if frame.command == "RECEIPT" and frame["receipt-id"] == receipt:
                return before
            assert frame.command == "MESSAGE", f"no RECEIPT {receipt} but {frame}"
            before.append(frame)

    def refused(self, command, body=b"", more=(), **headers):
        """A frame that is refused: the ERROR with its receipt. The connection must stay usable."""
        receipt = f"r{next(RECEIPTS)}"
        self.send(command, body, more, receipt=receipt, **headers)
        error = self.expect("ERROR")
        assert error["receipt-id"] == receipt, f"the ERROR names no receipt: {error}"
        self.check_usable()
        return error

    def check_usable(self):
        """The connection still does what it is told."""
        assert self.request("SEND", "x", destination="/topic/usable") == []

    def browse(self, queue):
        """All messages of a queue; they stay there. Needs 1.1 or later."""
        name = f"browser-{next(RECEIPTS)}"
        found = self.request("SUBSCRIBE", id=name, destination=queue, browser="true")
        assert not found, "no copy comes before the RECEIPT of SUBSCRIBE"
        while (message := self.expect("MESSAGE"))["browser"] != "end":
            found.append(message)
        self.request("UNSUBSCRIBE", id=name)
        return found

    # === reading ===

    def read(self, within=ANSWER_MAX):
        """The next frame."""
        deadline = time.monotonic() + within
        while True:
            frame = self._take_frame()
            if frame:
                return frame
            self._fill(deadline)

    def expect(self, command, within=ANSWER_MAX):
        """The next frame, which must be of that kind."""
        frame = self.read(within)
        assert frame.command == command, f"{command} expected: {frame}"
        return frame

    def messages(self, count):
        return [self.expect("MESSAGE") for _ in range(count)]

    def frames_until_quiet(self, seconds=0.3):
        """What comes until nothing comes for so long."""
        found = []
        while True:
            try:
                found.append(self.read(seconds))
            except TimeoutError:
                return found

    def nothing_comes(self, seconds=0.3):
        """True when no frame comes for so long."""
        try:
            frame = self.read(seconds)
        except TimeoutError:
            return True
        raise AssertionError(f"nothing was expected: {frame}")

    def expect_error_and_close(self, within=ANSWER_MAX):
        """An ERROR as the last frame, then the end of the connection."""
        error = self.expect("ERROR", within)
        assert error["message"], f"an ERROR says what is wrong: {error}"
        self.expect_close(within)
        return error

    def expect_close(self, within=ANSWER_MAX):
        try:
            frame = self.read(within)
        except Closed:
            return
        raise AssertionError(f"the connection should end: {frame}")

    def wait_beats(self, count, within=ANSWER_MAX):
        """Waits for so many line ends that belong to no frame."""
        deadline = time.monotonic() + within
        while self.beats < count:
            assert self._take_frame() is None
            if self.beats < count:
                self._fill(deadline)

    def _fill(self, deadline):
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("nothing came in time")
        self.socket.settimeout(left)
        try:
            data = self.socket.recv(65536)
        except ConnectionResetError as error:
            raise Closed from error
        if not data:
            raise Closed
        self._bytes += data

    def _take_frame(self):
        while self._bytes[:1] == b"\n":
            del self._bytes[:1]
            self.beats += 1
        end = self._bytes.find(b"\n\n")
        if end < 0:
            return None
        command, *lines = bytes(self._bytes[:end]).decode().split("\n")
        headers = [self._header(command, line) for line in lines]
        frame = Frame(command, headers, b"")
        start = end + 2
        length = frame["content-length"]
        stop = start + int(length) if length is not None else self._bytes.find(b"\0", start)
        # Every frame ends with NUL and a line end, which is none of the heart-beats.
        if stop < start or len(self._bytes) < stop + 2:
            return None
        assert self._bytes[stop : stop + 2] == b"\0\n", f"a frame ends with NUL and a line end: {frame}"
        frame.body = bytes(self._bytes[start:stop])
        del self._bytes[: stop + 2]
        return frame

    def _header(self, command, line):
        name, colon, value = line.partition(":")
        assert colon, f"a header without a colon: {line!r}"
        if command == "CONNECTED":
            return name, value
        return unescape(name, self.version), unescape(value, self.version)


def escape(text, escapes):
    return "".join(escapes.get(each, each) for each in text)


def unescape(text, version):
    """As strict as the specification: an undefined escape fails the test."""
    meanings = {written: meant for meant, written in ESCAPES[version].items()}
    if not meanings:
        return text
    out, at = [], 0
    while at < len(text):
        if text[at] == "\\":
            out.append(meanings[text[at : at + 2]])
            at += 2
        else:
            out.append(text[at])
            at += 1
    return "".join(out)


def collect(clients, count, within=ANSWER_MAX):
    """So many frames that may come to any of these clients: pairs of client and frame."""
    deadline = time.monotonic() + within
    found = []
    while len(found) < count:
        assert time.monotonic() < deadline, f"only {len(found)} of {count} frames came"
        for client in clients:
            with contextlib.suppress(TimeoutError):
                found.append((client, client.read(0.02)))
    return found


def ack_headers(version, message, subscription):
    """What names a delivery in ACK and NACK of that version."""
    if version == "1.2":
        return {"id": message["ack"]}
    if version == "1.1":
        return {"message_id": message["message-id"], "subscription": subscription}
    return {"message_id": message["message-id"]}
