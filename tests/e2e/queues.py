"""Where queues can be: in memory, in a file, in a redis-server of the test's own."""

import shutil
import subprocess
import time

import pytest

import poolsrv

KINDS = ("memory", "sqlite", "redis")
DURABLE = ("sqlite", "redis")


class Redis:
    """A redis-server on a Unix socket, with nothing kept."""

    def __init__(self, folder):
        self.socket = folder / "redis.sock"
        self.process = subprocess.Popen(["redis-server", "--port", "0", "--unixsocket", str(self.socket), "--save", "",
                                         "--appendonly", "no", "--dir", str(folder)],
                                        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        end = time.monotonic() + poolsrv.DEADLINE_S
        while subprocess.run(["redis-cli", "-s", str(self.socket), "ping"], capture_output=True,
                             check=False).stdout.strip() != b"PONG":
            assert time.monotonic() < end and self.process.poll() is None, "redis-server does not start"
            time.sleep(0.02)

    def stop(self):
        self.process.kill()
        self.process.wait()


def is_left_out(url, folder):
    """Some engines are not in every build."""
    app = folder / "probe.lua"
    app.write_text("api.on_start(function() error('enough') end)\n")
    done = poolsrv.run("--queue", url, app, env={"POOLSRV_PORT": "0"})
    return "cannot open the queues" in done.stderr and "not implemented" in done.stderr


def place(kind, folder):
    """Returns: the address, and what ends the place."""
    if kind == "redis":
        if not shutil.which("redis-server"):
            pytest.skip("there is no redis-server")
        redis = Redis(folder)
        return f"redis+unix:{redis.socket}", redis.stop
    return ("memory:" if kind == "memory" else f"sqlite:{folder}/queues.db"), lambda: None


def fixture(kinds):
    """A fixture that gives an address of each kind."""

    @pytest.fixture(params=kinds)
    def address(request, tmp_path):
        url, stop = place(request.param, tmp_path)
        try:
            if is_left_out(url, tmp_path):
                pytest.skip(f"this build has no queues in {request.param}")
            yield url
        finally:
            stop()

    return address
