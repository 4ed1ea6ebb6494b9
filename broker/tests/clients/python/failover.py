"""A real client through kills of the master: `failover.py [--client stomp.py|stompjs] [--kills 20]`.

Producers send persistent messages with receipts, consumers take them with client-individual acks,
while the master of a group of three is killed with SIGKILL, each time after progress under the
master before. At the end the queues are drained and `checker` judges. Prints a table; exit code 1
when a rule was broken or the clients made no progress.

`stomp.py` runs here (`stomp_py_load`), `stompjs` in a Node process (`../node/failover.mjs`) that
says on its standard output what it does, a line of JSON for each fact.
"""

import argparse
import json
import logging
import os
import random
import signal
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path

from checker import Checker, judge
from group import Group, address_of, die_with_parent, raise_exit
from raw import Raw
from load import FirstAnswer, ID_HEADER, QUEUES
from stomp_py_load import StompPyLoad

# Acknowledged and received under each master before it is killed.
PROGRESS = 100

# Deadlines in seconds: many times what was measured, because test machines are slow and busy.
PROGRESS_MAX = 90
DRAIN_MAX = 90


class StompjsLoad:
    """Producers and consumers in a Node process."""

    def __init__(self, checker, addresses):
        self._checker = checker
        node = Path(os.environ["TANDEMMQ_CLIENTS"]) / "node"
        program = Path(__file__).resolve().parent.parent / "node" / "failover.mjs"
        self.first_answer = FirstAnswer()
        self._connections = {}
        self._node = subprocess.Popen(
            ["node", str(program), str(node), ",".join(f"{host}:{port}" for host, port in addresses), ID_HEADER, *QUEUES],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            preexec_fn=die_with_parent,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        for line in self._node.stdout:
            self._take(**json.loads(line))

    def _take(self, fact, connection=None, **details):
        checker = self._checker
        if fact == "opened":
            self._connections[connection] = checker.opened()
        elif fact == "received":
            checker.received(connection=self._connections[connection], **details)
        elif fact == "acknowledged":
            checker.acknowledged(**details)
            self.first_answer.came(self._connections[connection])
        else:
            getattr(checker, fact)(**details)

    def is_alive(self):
        return self._node.poll() is None

    def stop_producing(self):
        self._node.stdin.write("stop\n")
        self._node.stdin.flush()

    def close(self):
        self._node.stdin.close()
        try:
            self._node.wait(20)
        except subprocess.TimeoutExpired:
            self._node.kill()
            self._node.wait()
        self._reader.join(20)


class NoProgress(Exception):
    """The clients did nothing for too long."""


def wait_progress(checker, load, what):
    """Waits until so much was acknowledged and received since now."""
    acknowledged, received = checker.acknowledgements + PROGRESS, checker.receptions + PROGRESS
    deadline = time.monotonic() + PROGRESS_MAX
    while checker.acknowledgements < acknowledged or checker.receptions < received:
        if not load.is_alive():
            raise NoProgress(f"the client ended by itself {what}")
        if time.monotonic() > deadline:
            raise NoProgress(
                f"within {PROGRESS_MAX} s {what}: {acknowledged - checker.acknowledgements} of {PROGRESS} receipts and "
                f"{received - checker.receptions} of {PROGRESS} messages are missing"
            )
        time.sleep(0.01)


def kill_again_and_again(group, checker, load, kills):
    """The kills, one line each; milliseconds from each to the next RECEIPT."""
    gaps = []
    print(f"{'kill':>5}  {'master':<8}{'epoch':>6}{'without receipts':>18}{'acknowledged':>14}{'received':>10}")
    wait_progress(checker, load, "before the first kill")
    for number in range(1, kills + 1):
        # Not always at the same moment of a batch.
        time.sleep(random.uniform(0, 0.2))
        master = group.master()
        load.first_answer.watch(checker.connections)
        killed_at = time.monotonic()
        group.kill(master)
        answered_at = load.first_answer.wait(PROGRESS_MAX)
        if answered_at is None:
            raise NoProgress(f"no RECEIPT within {PROGRESS_MAX} s after kill {number}")
        gaps.append((answered_at - killed_at) * 1000)
        wait_progress(checker, load, f"after kill {number}")
        print(
            f"{number:>5}  {master['name']:<8}{master['epoch']:>6}{gaps[-1]:>15.0f} ms"
            f"{checker.acknowledgements:>14}{checker.receptions:>10}",
            flush=True,
        )
    return gaps


def drain(checker):
    """Waits until everything that was acknowledged has been received."""
    deadline = time.monotonic() + DRAIN_MAX
    while checker.missing() and time.monotonic() < deadline:
        time.sleep(0.05)


def look_into_queues(checker, group):
    """What is still queued when no client is there any more."""
    with Raw.connect(address_of(group.wait_in_step())) as client:
        for queue in QUEUES:
            for message in client.browse(queue):
                checker.queued(message[ID_HEADER], message["message-id"])


def run(client, kills):
    checker = Checker()
    loads = {"stomp.py": StompPyLoad, "stompjs": StompjsLoad}
    with Group(replicas=3) as group:
        load = loads[client](checker, group.addresses())
        try:
            gaps = kill_again_and_again(group, checker, load, kills)
            load.stop_producing()
            drain(checker)
        finally:
            load.close()
        look_into_queues(checker, group)
    print(f"{client}: {kills} kills of the master, without receipts for {statistics.median(gaps):.0f} ms (median), {max(gaps):.0f} ms (longest)")
    return judge(checker)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--client", choices=["stomp.py", "stompjs"], default="stomp.py")
    parser.add_argument("--kills", type=int, default=20)
    arguments = parser.parse_args()
    if arguments.kills < 1:
        parser.error("--kills must be 1 or more: a run without a kill proves nothing")
    signal.signal(signal.SIGTERM, raise_exit)
    # stomp.py logs each lost connection with a trace; they are what is tested.
    logging.getLogger("stomp.py").setLevel(logging.CRITICAL)
    try:
        return run(arguments.client, arguments.kills)
    except NoProgress as error:
        print(f"VIOLATION: no progress: {error}")
        return 1


if __name__ == "__main__":
    sys.exit(main())
