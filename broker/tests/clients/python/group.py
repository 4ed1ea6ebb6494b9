"""A group of real brokers for a test: `tandemmq up` in a folder of its own, gone at the end.

    with Group(replicas=3) as group:
        group.master()          the broker that serves clients, waits for one
        group.kill_master()     SIGKILL, by its process id

Whatever happens to the test, nothing stays: `up` gets SIGTERM when this process dies (the kernel
sees to it), `up` ends its brokers, and what is still there of the processes in `cluster.json` is
killed. A process is only ever signalled through a pidfd whose command line names our folder, so a
pid that was given to a stranger meanwhile is safe.

Run as a program it starts a group for another one: `group.py COMMAND...`, with the folder in
TANDEMMQ_DIR and the addresses of clients in TANDEMMQ_ADDRESSES.

Environment: TANDEMMQ, the binary (else `tandemmq` of the PATH).
"""

import contextlib
import ctypes
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import tomllib
import urllib.request
from pathlib import Path

BINARY = os.environ.get("TANDEMMQ", "tandemmq")

# Ports of a group of 3 lie within 23 numbers; steps of 40 keep groups of several runs apart.
FIRST_PORT, PORT_END, PORT_STEP = 24_000, 32_000, 40

# Deadlines, in seconds: many times what was measured, because test machines are slow and busy.
START_MAX = 60
MASTER_MAX = 60
STOP_MAX = 25

PR_SET_PDEATHSIG = 1


class Group:
    """One group run by `up`."""

    def __init__(self, replicas=3, config=None, restart_delay="500ms", folder=None):
        """`config`: settings of all brokers, such as {"journal.maxBytes": "100Mi"}.

        `folder`: keep the cluster there instead of in a temporary folder.
        """
        self.replicas = replicas
        self.config = dict(config or {})
        self.restart_delay = restart_delay
        self._temporary = None if folder else tempfile.mkdtemp(prefix="tandemmq-clients-")
        self.folder = Path(folder or self._temporary) / "cluster"
        self._up = None
        self._log = None

    def __enter__(self):
        try:
            self.lay_out()
            self.start()
            self.master()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_):
        self.close()

    # === the life of `up` ===

    def lay_out(self):
        """Makes the folder: starts `up` once, ends it, forgets what the brokers wrote, and writes
        `config` into their files. So the group begins with these settings, on blank volumes."""
        for attempt in range(20):
            base = random.Random(os.getpid() * 101 + attempt).randrange(FIRST_PORT, PORT_END, PORT_STEP)
            if ports_are_free(base, self.replicas):
                self._run_up("--replicas", str(self.replicas), "--base-port", str(base))
                if self._wait_laid_out():
                    break
                # Somebody took a port in between; `up` said so and ended.
                self.stop()
                shutil.rmtree(self.folder, ignore_errors=True)
        else:
            raise RuntimeError(f"no free ports for a group between {FIRST_PORT} and {PORT_END}")
        self.stop()
        folders = [self.folder / "a" / "lease", *(Path(broker["dataDir"]) for broker in self.brokers())]
        for folder in folders:
            shutil.rmtree(folder)
            folder.mkdir()
        for broker in self.brokers():
            self.configure(broker["name"], self.config)

    def _wait_laid_out(self):
        deadline = time.monotonic() + START_MAX
        while time.monotonic() < deadline:
            if self._up.poll() is not None:
                return False
            with contextlib.suppress(OSError, ValueError):
                if all(broker["pid"] for broker in self.brokers()):
                    return True
            time.sleep(0.02)
        raise RuntimeError(f"`up` did not start within {START_MAX} s:\n{self.up_log()}")

    def start(self):
        """Runs `up` on the folder that is laid out."""
        self._run_up()

    def _run_up(self, *more):
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        command = [BINARY, "up", "--dir", str(self.folder), "--restart-delay", self.restart_delay]
        self._log = open(self.folder.parent / "up.log", "ab")
        self._up = subprocess.Popen(
            [*command, *more],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            # A process group of its own: Ctrl-C is for the test, which then stops `up`.
            start_new_session=True,
            preexec_fn=die_with_parent,
        )

    def stop(self):
        """Ends `up` and all brokers; the folder stays."""
        if self._up is None:
            return
        up, self._up = self._up, None
        if up.poll() is None:
            up.send_signal(signal.SIGTERM)
        try:
            up.wait(STOP_MAX)
        except subprocess.TimeoutExpired:
            up.kill()
            up.wait()
        self._log.close()
        self._end_leftovers()

    def _end_leftovers(self):
        """Brokers end with `up`, at the latest when their pipe from it does; then the rest."""
        deadline = time.monotonic() + STOP_MAX
        while (left := our_processes(self.folder)) and time.monotonic() < deadline:
            time.sleep(0.05)
        for pid in left:
            self._signal(pid, signal.SIGKILL)

    def close(self):
        """Ends everything and removes the folder, if it is a temporary one."""
        try:
            self.stop()
        finally:
            if self._temporary:
                shutil.rmtree(self._temporary, ignore_errors=True)

    # === looking ===

    def brokers(self):
        """The brokers as `cluster.json` has them."""
        return json.loads((self.folder / "cluster.json").read_text())["groups"][0]["brokers"]

    def broker(self, name):
        return next(broker for broker in self.brokers() if broker["name"] == name)

    def addresses(self):
        """Where clients may connect: (host, port) of every broker."""
        return [address_of(broker) for broker in self.brokers()]

    def list(self):
        """`cluster-list --json` of the group."""
        command = [BINARY, "cluster-list", "--dir", str(self.folder), "--json"]
        answer = subprocess.run(command, capture_output=True, text=True, timeout=START_MAX)
        if answer.returncode not in (0, 3):
            raise RuntimeError(f"cluster-list: {answer.stderr}")
        return json.loads(answer.stdout)["groups"][0]

    def master(self, within=MASTER_MAX):
        """The broker that serves clients now, with role, epoch and pid; waits for one."""
        deadline = time.monotonic() + within
        while time.monotonic() < deadline:
            view = self.list()
            for broker in view["brokers"]:
                if broker["name"] == view["master"] and listens(address_of(broker)):
                    return broker
            time.sleep(0.05)
        raise RuntimeError(f"no master within {within} s:\n{self.up_log()}")

    def wait_in_step(self, within=MASTER_MAX):
        """Waits until a master serves and all slaves have all it has."""
        deadline = time.monotonic() + within
        while time.monotonic() < deadline:
            view = self.list()
            if view["master"] and all(broker["lag"] == 0 for broker in view["brokers"]):
                return self.master()
            time.sleep(0.1)
        raise RuntimeError(f"the slaves are not in step within {within} s: {view}")

    def address(self):
        """Where the master serves clients."""
        return address_of(self.master())

    def status(self, name):
        """`/status` of one broker."""
        url = f"http://{self.broker(name)['addresses']['metrics']}/status"
        with urllib.request.urlopen(url, timeout=10) as answer:
            return json.load(answer)

    def depth(self, queue):
        """Messages in a queue, by the master's figures; 0 for one that is not there."""
        destinations = self.status(self.master()["name"])["destinations"]
        return next((each["depth"] for each in destinations if each["name"] == queue), 0)

    def rss(self, pid):
        """Resident memory of a broker in bytes."""
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def up_log(self):
        with contextlib.suppress(OSError):
            return (self.folder.parent / "up.log").read_text()
        return ""

    # === breaking ===

    def kill_master(self):
        """SIGKILL to the master; answers with what it was."""
        master = self.master()
        self.kill(master)
        return master

    def kill(self, broker):
        """SIGKILL to the process that a broker was when it was looked at."""
        self._signal(broker["pid"], signal.SIGKILL)

    def signal(self, name, number):
        """A signal to one broker."""
        self._signal(self.broker(name)["pid"], number)

    def _signal(self, pid, number):
        with contextlib.suppress(ProcessLookupError):
            handle = os.pidfd_open(pid)
            try:
                if pid in our_processes(self.folder):
                    signal.pidfd_send_signal(handle, number)
            finally:
                os.close(handle)

    @contextlib.contextmanager
    def stopped(self, *names):
        """These brokers hang (SIGSTOP) meanwhile."""
        try:
            for name in names:
                self.signal(name, signal.SIGSTOP)
            yield
        finally:
            for name in names:
                self.signal(name, signal.SIGCONT)

    def slaves(self):
        """Names of the brokers that are not master."""
        master = self.master()["name"]
        return [broker["name"] for broker in self.brokers() if broker["name"] != master]

    def configure(self, name, settings):
        """Changes settings in a broker's file; they count from its next start on."""
        file = self.folder / "a" / name / "broker.toml"
        tree = tomllib.loads(file.read_text())
        for key, value in settings.items():
            *path, last = key.split(".")
            table = tree
            for part in path:
                table = table.setdefault(part, {})
            table[last] = value
        file.write_text("\n".join(toml_lines(tree)) + "\n")


def address_of(broker):
    host, port = broker["addresses"]["stomp"].rsplit(":", 1)
    return host, int(port)


def listens(address):
    try:
        socket.create_connection(address, timeout=5).close()
        return True
    except OSError:
        return False


def ports_are_free(base, replicas):
    for broker in range(replicas):
        for service in range(3):
            with socket.socket() as probe:
                # As the broker binds: connections in TIME_WAIT do not count.
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind(("127.0.0.1", base + 10 * broker + service))
                except OSError:
                    return False
    return True


def our_processes(folder):
    """Process ids whose command line names a file in that folder."""
    mark = os.fsencode(f"{folder}{os.sep}")
    found = set()
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(OSError):
                arguments = Path(f"/proc/{entry}/cmdline").read_bytes().split(b"\0")
                if any(argument.startswith(mark) for argument in arguments):
                    found.add(int(entry))
    return found


def die_with_parent():
    """In the child, before exec: SIGTERM when the thread that forked it ends."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def toml_lines(tree):
    """A configuration as TOML: plain values first, then tables, then arrays of tables."""
    plain = {key: value for key, value in tree.items() if not holds_tables(value)}
    lines = [f"{key} = {json.dumps(value)}" for key, value in plain.items()]
    return lines + [line for key, value in tree.items() if holds_tables(value) for line in table_lines(key, value)]


def table_lines(name, value):
    if isinstance(value, list):
        return [line for each in value for line in (f"[[{name}]]", *toml_lines(each))]
    plain = {key: each for key, each in value.items() if not holds_tables(each)}
    nested = {key: each for key, each in value.items() if holds_tables(each)}
    lines = [f"[{name}]", *toml_lines(plain)]
    return lines + [line for key, each in nested.items() for line in table_lines(f"{name}.{key}", each)]


def holds_tables(value):
    return isinstance(value, dict) or (isinstance(value, list) and all(isinstance(each, dict) for each in value))


def raise_exit(number, _frame):
    """Turns SIGTERM into an exception, so that `with` blocks end what they started."""
    raise SystemExit(128 + number)


def main():
    signal.signal(signal.SIGTERM, raise_exit)
    with Group() as group:
        addresses = ",".join(f"{host}:{port}" for host, port in group.addresses())
        more = {"TANDEMMQ_DIR": str(group.folder), "TANDEMMQ_ADDRESSES": addresses}
        return subprocess.run(sys.argv[1:], env=os.environ | more).returncode


if __name__ == "__main__":
    sys.exit(main())
