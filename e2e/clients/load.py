"""A load of real STOMP clients that a test steers over stdin: `load.py ADDRESS... [--login FILE] [--queues NAME]`.

Producers send persistent messages with receipts, consumers take them with client-individual acks
(`stomp_py_load` of the broker's own tests), and `checker` judges what they saw. ADDRESS is
`host:port`; names are resolved at every dial. FILE has lines `user:password`; the first counts.
Two loads of one group need two NAMEs: each judges its own messages.

One command a line on stdin, one line of JSON on stdout for each:

    counts                    {"acknowledged", "received", "refused", "connections", "connected"}: opened
                              in all, and clients that have one now
    progress N SECONDS        waits for N more receipts and N more messages: {"ok", ...counts}
    mark                      begins a measurement: {}
    first SECONDS             the first receipt on a connection opened since `mark`: {"ms": x or null}
    since                     since `mark`: {"acknowledged", "refused", "opened", "longest_ms", "rate"};
                              `longest_ms` is the longest time without any receipt, until now
    stop SECONDS              no more SENDs, waits until all that was acknowledged was received, ends the
                              clients and judges: {"violations": [...], "totals": {...}}

The end of stdin ends the program. It never ends by itself before: a load that died says so at the
next command ({"error"}).
"""

import argparse
import json
import logging
import os
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "broker" / "tests" / "clients" / "python"))

from checker import Checker  # noqa: E402
from stomp_py_load import StompPyLoad  # noqa: E402

# A connection that says nothing for so long, in seconds, is taken for dead.
SILENCE_MAX = 3


class Facts(Checker):
    """The checker, and the pauses between receipts."""

    def __init__(self):
        super().__init__()
        self._times = threading.Lock()
        self.refusals = 0
        self.mark()

    def mark(self):
        with self._times:
            self.marked_at = self._last = time.monotonic()
            self._longest = 0.0
            self.marked = (self.acknowledgements, self.refusals, self.connections)

    def acknowledged(self, id):
        super().acknowledged(id)
        with self._times:
            now = time.monotonic()
            self._longest = max(self._longest, now - self._last)
            self._last = now

    def refused(self, id):
        super().refused(id)
        self.refusals += 1

    def longest(self):
        """Seconds, the time since the last receipt included."""
        with self._times:
            return max(self._longest, time.monotonic() - self._last)


class Steered:
    """The load and the answers to commands."""

    def __init__(self, addresses, login, name):
        self.facts = Facts()
        self.load = StompPyLoad(self.facts, addresses, login, SILENCE_MAX, [f"/queue/{name}.one", f"/queue/{name}.two"])

    def counts(self):
        facts = self.facts
        return {
            "acknowledged": facts.acknowledgements,
            "received": facts.receptions,
            "refused": facts.refusals,
            "connections": facts.connections,
            "connected": self.load.connected(),
        }

    def progress(self, count, seconds):
        facts = self.facts
        acknowledged, received = facts.acknowledgements + count, facts.receptions + count
        reached = lambda: facts.acknowledgements >= acknowledged and facts.receptions >= received  # noqa: E731
        return {"ok": wait_until(reached, seconds), **self.counts()}

    def mark(self):
        self.facts.mark()
        self.load.first_answer.watch(self.facts.connections)
        return {}

    def first(self, seconds):
        at = self.load.first_answer.wait(seconds)
        return {"ms": None if at is None else (at - self.facts.marked_at) * 1000}

    def since(self):
        facts = self.facts
        acknowledged, refused, opened = facts.marked
        seconds = max(time.monotonic() - facts.marked_at, 0.001)
        count = facts.acknowledgements - acknowledged
        return {
            "acknowledged": count,
            "refused": facts.refusals - refused,
            "opened": facts.connections - opened,
            "longest_ms": facts.longest() * 1000,
            "rate": count / seconds,
        }

    def stop(self, seconds):
        self.load.producing = False
        wait_until(lambda: all(not p.is_alive() for p in self.load._producers), seconds)
        wait_until(lambda: not self.facts.missing(), seconds)
        self.load.close()
        return {"violations": self.facts.violations()[:20], "totals": self.facts.totals()}


def wait_until(holds, seconds):
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def parse_address(text):
    host, _, port = text.rpartition(":")
    return host, int(port)


def read_login(path):
    user, _, password = Path(path).read_text().splitlines()[0].partition(":")
    return user, password


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("addresses", nargs="+", type=parse_address)
    parser.add_argument("--login", help="a file with a line user:password")
    parser.add_argument("--queues", default="load", help="what the names of its queues begin with")
    arguments = parser.parse_args()
    # stomp.py logs each lost connection with a trace; they are what is tested.
    logging.getLogger("stomp.py").setLevel(logging.CRITICAL)
    steered = Steered(arguments.addresses, read_login(arguments.login) if arguments.login else None, arguments.queues)
    commands = {"counts": steered.counts, "progress": steered.progress, "mark": steered.mark, "first": steered.first,
                "since": steered.since, "stop": steered.stop}
    for line in sys.stdin:
        word, *numbers = line.split()
        if word != "stop" and not steered.load.is_alive():
            answer = {"error": "a client ended by itself"}
        else:
            answer = commands[word](*(int(number) for number in numbers))
        print(json.dumps(answer), flush=True)
    # Threads of clients that hang in a dial must not keep the program.
    os._exit(0)


if __name__ == "__main__":
    main()
