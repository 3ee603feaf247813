"""Measuring what a context costs, at two places: inside the VM (load/profile_context.c) and in the whole server,
driven by wrk. Nothing here reckons: each function returns the bare figures of one run.
"""

import contextlib
import os
import re
import signal
import subprocess
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
STOP_S = 30  # how long a server may take to stop
HANG_S = 60  # and wrk to end after it was told to


class Failure(Exception):
    """What keeps the profile from going on; its text is for people."""


# --- in the VM ---


def _rows_of(*command):
    """Run a program. Returns: the words of each line that it printed."""
    command = [str(word) for word in command]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, encoding="utf-8", check=False)
    if done.returncode != 0:
        raise Failure(f"{' '.join(command)} failed:\n{done.stderr.strip()}")
    return [line.split("\t" if "\t" in line else " ") for line in done.stdout.splitlines()]


class Harness:
    """The programs in C, load_profile_context and load_lua_steps, of one build."""

    def __init__(self, folder):
        self.folder = Path(folder)

    def _run(self, *args, under=()):
        return _rows_of(*under, self.folder / "load_profile_context", *args)

    def steps(self):
        """Returns: {title: CPU ns of one}."""
        return {title: float(ns) for _, title, ns in _rows_of(self.folder / "load_lua_steps")}

    def cases(self):
        """Returns: the strategies that poolsrv has, and {case name: title}."""
        rows = self._run("--list")
        strategies = [row[1] for row in rows if row[0] == "strategy"]
        return strategies, {row[1]: row[2] for row in rows if row[0] == "case"}

    def times(self, order, cases, requests):
        """One round. Returns: {(case, strategy): CPU ns a request}."""
        rows = self._run("--order", ",".join(order), "--cases", ",".join(cases), "--requests", requests)
        return {(case, strategy): float(ns) for _, case, strategy, ns in rows}

    def allocations(self, order, cases, requests):
        """Returns: {(case, strategy): (allocations, bytes)}, a request."""
        rows = self._run("--count", "--order", ",".join(order), "--cases", ",".join(cases), "--requests", requests)
        return {(case, strategy): (float(n), float(size)) for _, case, strategy, n, size in rows}

    def instructions(self, case, strategy, few=2000, many=6000):
        """Instructions a request, as callgrind counts them: a difference, so that starting cancels."""
        counts = []
        with tempfile.TemporaryDirectory() as folder:
            for requests in (few, many):
                out = Path(folder, str(requests))
                self._run(
                    *("--order", strategy, "--cases", case, "--requests", requests),
                    under=("valgrind", "--tool=callgrind", f"--callgrind-out-file={out}"),
                )
                counts.append(int(re.search(r"^(?:totals|summary): (\d+)", out.read_text(), re.M)[1]))
        return (counts[1] - counts[0]) / ((many - few) * 1.1)  # a tenth more goes before each sample


# --- the whole server ---


def process_cpu_s(pid):
    """CPU time of another process's threads, with the clock that clock_getcpuclockid(3) makes: not in ticks."""
    return time.clock_gettime((~pid << 3) | 2)


class Server:
    """poolsrv with one thread and one strategy."""

    def __init__(self, program, strategy, on_core):
        self.command = [
            *on_core, str(program), "--port", "0", "--threads", "1", "--heavy-threads", "1", "--lane", "light",
            "--context", strategy, "load/apps/context.lua",
        ]  # fmt: skip
        env = {name: value for name, value in os.environ.items() if not name.startswith("POOLSRV_")}
        self.log = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # a pipe that nobody reads fills up
        self.process = subprocess.Popen(
            self.command, cwd=ROOT, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self.log,
            encoding="utf-8",
        )  # fmt: skip
        self.url = self._wait_until_it_listens()

    def _wait_until_it_listens(self):
        for line in self.process.stdout:
            found = re.match(r"listening on (http://\S+)", line)
            if found:
                return found[1]
        self.stop()
        self.log.seek(0)
        raise Failure(f"{' '.join(self.command)} does not listen:\n{self.log.read()}")

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()


@contextlib.contextmanager
def servers(program, strategies, on_core):
    """One server a strategy, all at once; those that are not asked sleep."""
    running = {}
    try:
        for strategy in strategies:
            running[strategy] = Server(program, strategy, on_core)
        yield running
    finally:
        for server in running.values():
            server.stop()


def _run_wrk(command, duration_s):
    """wrk counts seconds only, but once it has said that it runs, a SIGINT ends it well at any time. stdbuf makes it
    say so at once. Returns: what it printed."""
    process = subprocess.Popen(
        ["stdbuf", "-oL", *command], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8"
    )
    try:
        first = process.stdout.readline()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(duration_s)
        process.send_signal(signal.SIGINT)
        return first + process.communicate(timeout=HANG_S)[0]
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def _wrk(server, case, duration_s, connections, on_core, *words):
    """Send one case for so long, and longer if nothing at all was answered. Returns: wrk's figures."""
    for factor in (1, 2, 8):
        command = [
            *on_core, "wrk", "-t1", f"-c{connections}", f"-d{int(duration_s * factor) + HANG_S}s",
            "-s", "load/scripts/context.lua", server.url, "--", case, *words,
        ]  # fmt: skip
        text = _run_wrk(command, duration_s * factor)
        found = re.search(r"^result (.*)$", text, re.M)
        figures = {name: int(value) for name, value in re.findall(r"(\w+)=(\d+)", found[1] if found else "")}
        if not figures or figures["wrong"] or figures["errors"]:
            break
        if figures["requests"]:
            return figures
    raise Failure(f"{case}: errors or wrong replies\n{' '.join(command)}\n{text}")


def check(server, case, connections, on_core):
    """Compare every reply for a moment, which also warms the server up."""
    _wrk(server, case, 0.1, connections, on_core, "check")


def drive(server, case, duration_s, connections, on_core):
    """Returns: {"cpu": us of server CPU a request, "rate": requests a second, "p99": ms}."""
    before = process_cpu_s(server.process.pid)
    figures = _wrk(server, case, duration_s, connections, on_core)
    cpu_s = process_cpu_s(server.process.pid) - before
    return {
        "cpu": cpu_s * 1e6 / figures["requests"],
        "rate": figures["requests"] * 1e6 / figures["duration_us"],
        "p99": figures["p99_us"] / 1e3,
    }
