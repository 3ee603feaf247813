"""One running server: started, watched and stopped by its own process ids."""

import os
import re
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

from .check import CannotAsk, Wrong, check
from .interrupts import held
from .server import Place, ROOT

START_S = 20
STOP_S = 5
CPUCLOCK_SCHED = 2  # the kernel's exact clock of a process, with threads that have ended


class Failed(Exception):
    """This server cannot go on with this case."""


def on_cores(cores):
    """The words before a command that keep it there; None: wherever the kernel likes."""
    return ["taskset", "-c", ",".join(map(str, cores))] if cores else []


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def _parents():
    """pid -> parent's pid, of every process there is."""
    found = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                stat = Path(f"/proc/{entry}/stat").read_text()
            except OSError:
                continue
            found[int(entry)] = int(stat.rpartition(")")[2].split()[1])
    return found


def tree(root):
    """The process and all below it."""
    parents, pids = _parents(), [root]
    for pid in pids:
        pids.extend(child for child, parent in parents.items() if parent == pid)
    return pids


class Instance:
    """`server` with so many workers. `cores` says on which they run, and on which its clients do."""

    def __init__(self, server, workers, cores):
        self.server = server
        self.workers = workers
        self.cores = cores.for_server(workers)
        self.client_cores = cores.for_clients(workers)
        self.process = self.port = self.log = self.command = None
        self.stopping = []

    @property
    def name(self):
        return f"{self.server.name}/{self.workers}"

    def start(self, case, tools, folder):
        """Begin to start; wait() sees whether it did."""
        folder = Path(folder) / f"{self.server.name}-{self.workers}-{case.name}"
        folder.mkdir()
        folder.chmod(0o777)  # servers that change their user write their pid and temporary files here
        place = Place(folder, self.workers, free_port(), case, tools)
        command = self.server.command(place)
        self.port = None if command[1:3] == ["--port", "0"] else place.port
        self.log = folder / "output"
        prefix = ["setpriv", "--pdeathsig", "TERM"] if shutil.which("setpriv") else []
        prefix += on_cores(self.cores)
        # As it is told: where this tree lies, and the run's own folder, are nobody's business.
        self.command = [word.replace(str(folder), "FOLDER").replace(f"{ROOT}/", "") for word in command]
        with open(self.log, "wb") as output, held():
            self.process = subprocess.Popen([*prefix, *command], stdin=subprocess.DEVNULL, stdout=output,
                                            stderr=subprocess.STDOUT, start_new_session=True,
                                            env={**os.environ, **self.server.environment(place)})

    def wait(self, case):
        """Until every reply of the case is right. Returns: the body of the request that is timed."""
        end = time.monotonic() + START_S
        while True:
            try:
                if self.port or self._read_port():
                    return check(self.port, case)
            except CannotAsk as why:
                problem = str(why)
            except Wrong as why:
                raise Failed(f"{why}; {self.last_words()}") from None
            else:
                problem = "it does not say where it listens"
            if not self.alive():
                raise Failed(f"it ended: {self.last_words()}")
            if time.monotonic() > end:
                raise Failed(f"no reply within {START_S} s: {problem}; {self.last_words()}")
            time.sleep(0.02)

    def _read_port(self):
        found = re.search(rb"listening on (?:http://)?127\.0\.0\.1:(\d+)", self.log.read_bytes())
        self.port = int(found[1]) if found else None
        return self.port

    def alive(self):
        return self.process is not None and self.process.poll() is None

    def last_words(self):
        """The end of what it printed, on one line."""
        texts = [self.log, self.log.with_name("error.log")]
        lines = [line for text in texts if text.exists() for line in text.read_text(errors="replace").splitlines()]
        return " | ".join(lines[-3:])[-400:] or "it printed nothing"

    def cpu_us(self):
        """CPU time so far of all its processes and threads."""
        total = 0
        for pid in tree(self.process.pid):
            try:
                total += time.clock_gettime_ns((~pid << 3) | CPUCLOCK_SCHED)
            except OSError:
                raise Failed(f"one of its processes ended: {self.last_words()}") from None
        return total / 1000

    def memory_and_threads(self):
        """RSS of all its processes in MiB (pages they share count in each), and how many threads there are."""
        kib = threads = 0
        for pid in tree(self.process.pid):
            try:
                status = Path(f"/proc/{pid}/status").read_text()
            except OSError:
                continue
            for name, value in re.findall(r"^(VmRSS|Threads):\s+(\d+)", status, re.M):
                kib += int(value) if name == "VmRSS" else 0
                threads += int(value) if name == "Threads" else 0
        return kib / 1024, threads

    def begin_stop(self):
        if self.alive():
            self.stopping = tree(self.process.pid)
            self.process.terminate()

    def finish_stop(self):
        """Wait for its end, and for that of the processes below it; what does not go is killed."""
        if self.process is None:
            return
        try:
            self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        end = time.monotonic() + STOP_S
        while any(map(_runs, self.stopping)) and time.monotonic() < end:
            time.sleep(0.02)
        for pid in filter(_runs, self.stopping):
            os.kill(pid, signal.SIGKILL)
        self.process, self.stopping = None, []


def _runs(pid):
    """Does it run, or is it at most waited for by somebody else?"""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False
