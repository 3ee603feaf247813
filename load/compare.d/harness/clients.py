"""The load clients as commands, and what they print."""

import json
import resource
import subprocess
import time
from contextlib import contextmanager

from .cases import BLOCK_MS, HEAVY_CONNECTIONS, LIGHT_CONNECTIONS
from .instance import Failed, on_cores
from .interrupts import held

CLOSED_TIMEOUT_S = 2  # after which a request is an error
LATE_S = 30  # a client that is so much later than it should be has got stuck


class Clients:
    def __init__(self, tools):
        self.tools = tools

    def closed(self, instance, request, connections, seconds, body=None):
        """As many requests as are answered. With `body` every reply must have
        its bytes; each Lua VM has its own order of a table's members, and with it of the bytes."""
        return self._run(self._closed(instance, request, connections, seconds, body), seconds)

    def opened(self, instance, request, rate, seconds, timeout_s, body):
        """Requests at a rate, on the connections of the light load."""
        command = [*on_cores(instance.client_cores), self.tools.openloop, "--rate", f"{rate:.1f}", "--duration", f"{seconds}", "--timeout",
                   f"{timeout_s}", *self._target(instance, request, LIGHT_CONNECTIONS, body)]
        return self._run(command, seconds + timeout_s)

    @contextmanager
    def beside(self, instance, request, seconds):
        """The heavy load, for as long as the block takes but no longer than so many seconds. Yields a dict that
        holds the client's report afterwards."""
        report = {}
        command = self._closed(instance, request, HEAVY_CONNECTIONS, seconds, None)
        with self._started(command) as process:
            yield report
            process.terminate()
            report.update(self._report(process, BLOCK_MS / 1000 * HEAVY_CONNECTIONS))

    def _closed(self, instance, request, connections, seconds, body):
        return [*on_cores(instance.client_cores), self.tools.closedloop, "--duration", f"{seconds}",
                "--timeout", str(CLOSED_TIMEOUT_S),
                *self._target(instance, request, connections, body)]

    @staticmethod
    def _target(instance, request, connections, body):
        words = ["--json", "--status", "200", "--connections", str(connections), "--method", request.method]
        for name, value in request.headers:
            words += ["--header", f"{name}: {value}"]
        if request.body is not None:
            words += ["--body", request.body]
        if body is not None:
            words += ["--expect-bytes", body]
        return [*words, f"http://127.0.0.1:{instance.port}{request.path}"]

    @contextmanager
    def _started(self, command):
        process = None
        try:
            with held():
                process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                           start_new_session=True)
            yield process
        finally:
            if process is not None and process.returncode is None:
                process.kill()
                process.communicate()

    def _run(self, command, seconds):
        begin, before = time.monotonic(), _children_cpu_s()
        with self._started(command) as process:
            report = self._report(process, seconds)
        report["client_busy"] = (_children_cpu_s() - before) / (time.monotonic() - begin)
        return report

    @staticmethod
    def _report(process, seconds):
        try:
            out, err = process.communicate(timeout=seconds + LATE_S)
        except subprocess.TimeoutExpired:
            raise Failed("the client got stuck") from None
        if process.returncode not in (0, 1) or not out.strip():
            raise Failed(f"the client could not go on: {err.strip()[:300]}")
        report = json.loads(out)
        if report["wrong"]:
            raise Failed(f"{report['wrong']} wrong replies under load: {err.strip()[:300]}")
        return report


def _children_cpu_s():
    """Of those that have been waited for: the client alone, between its start and its end."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
