"""A real redis-server of the test's own, on a Unix socket and a port of its choice, in a folder of its own."""

import os
import signal
import socket
import subprocess
import time

DEADLINE_S = 20


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Redis:
    def __init__(self, folder, *options):
        self.folder = folder
        self.options = options
        self.port = free_port()
        self.path = str(folder / "redis.sock")
        self.unix_url = "redis+unix:" + self.path
        self.tcp_url = f"redis://127.0.0.1:{self.port}"
        self.process = None
        self.start()

    def start(self):
        """Start it, or start it again in the same place."""
        self.process = subprocess.Popen(
            ["redis-server", "--bind", "127.0.0.1", "--port", str(self.port), "--unixsocket", self.path, "--dir",
             str(self.folder), "--save", "", "--logfile", "redis.log", *self.options], stdin=subprocess.DEVNULL)
        end = time.monotonic() + DEADLINE_S
        while True:
            try:
                if self.ask("PING") == b"+PONG" or b"NOAUTH" in self.ask("PING"):
                    return
            except OSError:
                pass
            assert self.process.poll() is None and time.monotonic() < end, "redis-server does not start"
            time.sleep(0.01)

    def ask(self, *words):
        """The first line of the reply to one command."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(DEADLINE_S)
            connection.connect(self.path)
            words = [word if isinstance(word, bytes) else str(word).encode() for word in words]
            connection.sendall(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in words))
            reply = b""
            while b"\r\n" not in reply:
                more = connection.recv(65536)
                if not more:
                    raise OSError("redis-server has closed")
                reply += more
            return reply.split(b"\r\n")[0]

    def halt(self):
        """It is there, and says nothing, until go_on()."""
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self):
        self.process.send_signal(signal.SIGCONT)

    def kill(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        self.process.wait(DEADLINE_S)
        if os.path.exists(self.path):
            os.unlink(self.path)
