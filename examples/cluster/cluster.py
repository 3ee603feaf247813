"""Three nodes behind HAProxy, with one Redis, all on this machine: what `run` starts, and what can be done to it.

Each node is a poolsrv on an address of its own, 127.0.0.2 and on, as if it were a machine. All ports are free ones; all
processes are children of this one, and stopped by their own handles."""

import csv
import io
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

HERE = Path(__file__).resolve().parent
NODES = 3
DEADLINE_S = 20


def until(look, what, deadline_s=DEADLINE_S):
    """Ask until it is true, for what shows by no event."""
    end = time.monotonic() + deadline_s
    while not look():
        if time.monotonic() > end:
            raise TimeoutError(f"{what}: not within {deadline_s} s")
        time.sleep(0.02)


def free_port(address):
    with socket.socket() as s:
        s.bind((address, 0))
        return s.getsockname()[1]


class Process:
    """A child whose output goes into a file; `name` is the file's, too."""

    def __init__(self, name, command, folder, env=None, pass_fds=()):
        self.name = name
        self.path = folder / f"{name}.log"
        with open(self.path, "ab") as log:
            self.from_byte = log.tell()
            self.popen = subprocess.Popen(list(map(str, command)), env={**os.environ, **(env or {})},
                                          stdin=subprocess.DEVNULL, stdout=log, stderr=log, pass_fds=pass_fds,
                                          start_new_session=True)  # a control-C is for `run`, which ends them in order

    def log(self):
        with open(self.path, encoding="utf-8", errors="replace") as f:
            f.seek(self.from_byte)
            return f.read()

    def runs(self):
        return self.popen.poll() is None

    def check(self):
        if not self.runs():
            raise RuntimeError(f"{self.name} ended:\n{self.log()}")
        return True

    def end(self, number=signal.SIGTERM):
        """Returns: its exit code."""
        if self.runs():
            self.popen.send_signal(number)
        try:
            return self.popen.wait(DEADLINE_S)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            return self.popen.wait()


class Node:
    """A machine. It has the same address after a restart."""

    def __init__(self, cluster, number):
        self.cluster = cluster
        self.name = f"node{number}"
        self.host = f"127.0.0.{number + 1}"
        self.port = self.admin_port = 0
        self.process = None

    def start(self):
        c = self.cluster
        env = {"NODE": self.name, "CLUSTER_REDIS": f"127.0.0.1:{c.redis_port}"}
        self.process = Process(self.name, [c.program, "--host", self.host, "--port", self.port, "--admin",
                                           f"{self.host}:{self.admin_port}", "--queue", c.queue, "--trust-proxy",
                                           "127.0.0.1", *c.options, HERE / "app.lua"], c.folder, env)
        until(lambda: self.process.check() and self.process.log().count("listening on ") == 2, f"{self.name} listens")
        ports = [int(line.rsplit(":", 1)[1]) for line in self.process.log().splitlines()
                 if line.startswith("listening on ")]
        self.port, self.admin_port = ports
        until(self.is_ready, f"{self.name} is ready")

    def is_ready(self):
        try:
            with urllib.request.urlopen(f"http://{self.host}:{self.admin_port}/readyz", timeout=DEADLINE_S) as reply:
                return reply.status == 200
        except urllib.error.URLError:
            return False


class Cluster:
    def __init__(self, program, options=()):
        self.program = program
        self.options = options
        self.nodes = []
        self.redis = self.haproxy = None
        self.redis_port = 0
        self.front = None
        self.folder = Path(tempfile.mkdtemp(prefix="cluster-"))

    @property
    def queue(self):
        return f"redis://127.0.0.1:{self.redis_port}/0"

    @property
    def address(self):
        return self.front.getsockname()

    def start(self):
        self.start_redis()
        for number in range(1, NODES + 1):
            self.nodes.append(Node(self, number))
            self.nodes[-1].start()
        self.start_haproxy()

    def start_redis(self):
        """With what it has to be told: an answer means that it is on the disk."""
        self.redis_port = self.redis_port or free_port("127.0.0.1")
        self.redis = Process("redis", ["redis-server", "--bind", "127.0.0.1", "--port", self.redis_port, "--dir",
                                       self.folder, "--save", "", "--appendonly", "yes", "--appendfsync", "always",
                                       "--maxmemory-policy", "noeviction"], self.folder)
        until(lambda: self.redis.check() and "Ready to accept connections" in self.redis.log(), "Redis listens")

    def start_haproxy(self):
        self.front = socket.socket()
        self.front.bind(("127.0.0.1", 0))
        env = {"CLUSTER_DIR": str(self.folder), "CLUSTER_FRONT": str(self.front.fileno())}
        for i, node in enumerate(self.nodes, 1):
            env[f"CLUSTER_NODE{i}"] = f"{node.host}:{node.port}"
            env[f"CLUSTER_ADMIN{i}"] = str(node.admin_port)
        self.haproxy = Process("haproxy", ["haproxy", "-db", "-f", HERE / "haproxy.cfg"], self.folder, env,
                               [self.front.fileno()])
        until(lambda: self.haproxy.check() and all(map(self.is_up, self.nodes)),
              "HAProxy sees all nodes")

    # --- HAProxy's own commands ---

    def ask_haproxy(self, command):
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(DEADLINE_S)
            try:
                s.connect(str(self.folder / "haproxy.sock"))
            except OSError:
                return ""  # it is about to listen
            s.sendall(command.encode() + b"\n")
            return b"".join(iter(lambda: s.recv(65536), b"")).decode()

    def row(self, node):
        """What HAProxy's statistics say of a node: a dict, empty if it does not know it."""
        table = self.ask_haproxy("show stat").removeprefix("# ")
        return next((row for row in csv.DictReader(io.StringIO(table))
                     if (row["pxname"], row["svname"]) == ("nodes", node.name)), {})

    def is_up(self, node):
        """Has HAProxy asked it, and been told that it takes requests?"""
        row = self.row(node)
        return row.get("status", "").startswith("UP") and row["check_status"] == "L7OK"

    def is_down(self, node):
        return self.row(node).get("status", "").startswith("DOWN")

    # --- what can be done ---

    def kill(self, node):
        """As a machine ends whose power fails."""
        node.process.end(signal.SIGKILL)

    def start_again(self, node):
        node.start()
        until(lambda: self.is_up(node), f"HAProxy sees {node.name}")

    def add(self):
        """One more node: it takes from the queue at once, and requests as soon as HAProxy is told of it."""
        node = Node(self, len(self.nodes) + 1)
        node.start()
        self.ask_haproxy(f"add server nodes/{node.name} {node.host}:{node.port} check port {node.admin_port} "
                         "inter 1s fastinter 100ms downinter 100ms fall 3 rise 1 "
                         "observe layer4 error-limit 1 on-error mark-down")
        self.ask_haproxy(f"enable server nodes/{node.name}; enable health nodes/{node.name}")
        until(lambda: self.is_up(node), f"HAProxy sees {node.name}")
        self.nodes.append(node)
        return node

    def restart(self, node):
        """Without an error for anybody: no more requests are sent to it, those under way end, then it does; its jobs
        are finished or given back."""
        self.ask_haproxy(f"set server nodes/{node.name} state drain")
        until(lambda: self.row(node).get("scur") == "0", f"{node.name} has no requests")
        code = node.process.end()
        if code != 0:
            raise RuntimeError(f"{node.name} ended with {code}:\n{node.process.log()}")
        node.start()
        self.ask_haproxy(f"set server nodes/{node.name} state ready")
        until(lambda: self.is_up(node), f"HAProxy sees {node.name}")

    def roll(self):
        """One after the other; the rest carries the load meanwhile."""
        for node in self.nodes:
            if node.process.runs():
                self.restart(node)

    def close(self):
        """All that was started, in the order in which nobody is refused, and its files."""
        for process in [self.haproxy, *(node.process for node in self.nodes), self.redis]:
            if process:
                process.end()
        if self.front:
            self.front.close()
        shutil.rmtree(self.folder)

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_):
        self.close()
