"""Run the real program and speak HTTP to it over bare sockets.

Server   one running poolsrv: its address, what it prints, how it ends
Client   one connection: sends bytes, reads replies as strictly as RFC 9112 allows
Probe    one honest client beside whatever a test does to a server
run()    poolsrv as a command that ends by itself

Every wait has a deadline, which is generous: it is there to catch what hangs, not what is slow.
"""

import ctypes
import ctypes.util
import json
import os
import re
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

DEADLINE_S = 20
ROOT = Path(__file__).resolve().parents[2]
SHARED = Path(os.environ.get("POOLSRV_SHARED") or ROOT.parent / "shared")
PROGRAM = os.environ.get("POOLSRV_BIN") or str(ROOT / "build/release/poolsrv")
# gcov's counters are slow and take memory as a sanitizer does, and count as one.
UNDER_COVERAGE = b"__gcov_init" in Path(PROGRAM).read_bytes()
UNDER_SANITIZER = UNDER_COVERAGE or b"__asan_init" in Path(PROGRAM).read_bytes()
SANITIZER = re.compile(r"ERROR: \w*Sanitizer|WARNING: ThreadSanitizer|runtime error:|Assertion .* failed")


def daemon_version():
    """Of the libmicrohttpd that a program gets here: (0, 9, 75)."""
    library = ctypes.CDLL(ctypes.util.find_library("microhttpd"))
    library.MHD_get_version.restype = ctypes.c_char_p
    return tuple(int(part) for part in re.findall(r"\d+", library.MHD_get_version().decode())[:3])


# These versions misread chunk extensions, so the server lets no request follow a chunked one.
CHUNKED_CLOSES = (1, 0, 0) <= daemon_version() < (1, 0, 10)
# These join folded lines in a wrong way, so the server refuses them; later ones put a blank in their place.
FOLDS_REFUSED = daemon_version() < (1, 0, 0)


def environment(extra=None):
    """The caller's environment without what would change a server's options."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("POOLSRV_", "LISTEN_", "LUA_"))}
    env.pop("NOTIFY_SOCKET", None)
    env.update(extra or {})
    return env


def run(*args, env=None, cwd=None):
    """Run poolsrv to its end. Returns: the CompletedProcess, its outputs as text."""
    done = subprocess.run([PROGRAM, *map(str, args)], env=environment(env), cwd=cwd, timeout=DEADLINE_S * 2,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          encoding="utf-8", errors="surrogateescape", check=False)
    assert not SANITIZER.search(done.stderr), done.stderr
    return done


class Reply:
    def __init__(self, version, status, reason, headers, body):
        self.version = version
        self.status = status
        self.reason = reason
        self.headers = headers  # pairs, as they came
        self.body = body

    def all(self, name):
        return [value for key, value in self.headers if key.lower() == name.lower()]

    def header(self, name):
        """The value of a header that may stand once only; None when it is not there."""
        values = self.all(name)
        assert len(values) < 2, f"{name} came {len(values)} times: {values}"
        return values[0] if values else None

    @property
    def text(self):
        return self.body.decode("utf-8")

    def json(self):
        assert self.header("Content-Type") == "application/json", self
        return json.loads(self.body.decode("utf-8", "strict"))

    def __repr__(self):
        return f"<{self.status} {self.headers} {self.body[:500]!r}>"


class Client:
    """One connection. Use it in `with`, or close it."""

    def __init__(self, address, timeout=DEADLINE_S, receive_buffer=None):
        """receive_buffer: bytes that the kernel may keep for it, at least; the kernel has a smallest size."""
        self.socket = socket.socket(family_of(address))
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(timeout)
        self.socket.connect(address)
        self.buffer = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)

    def finish_sending(self):
        self.socket.shutdown(socket.SHUT_WR)

    def _more(self):
        data = self.socket.recv(65536)
        if not data:
            raise EOFError(f"the server closed after {self.buffer!r}")
        self.buffer += data

    def _until(self, end):
        while end not in self.buffer:
            self._more()
        head, _, self.buffer = self.buffer.partition(end)
        return head

    def _exactly(self, n):
        while len(self.buffer) < n:
            self._more()
        body, self.buffer = self.buffer[:n], self.buffer[n:]
        return body

    def read(self, method="GET"):
        """The next reply; the method of its request says whether it has a body."""
        lines = self._until(b"\r\n\r\n").decode("latin-1").split("\r\n")
        first = re.fullmatch(r"HTTP/(1\.[01]) (\d{3}) ([^\r\n]*)", lines[0])
        assert first, f"not a status line: {lines[0]!r}"
        status = int(first[2])
        headers = []
        for line in lines[1:]:
            field = re.fullmatch(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\x00-\x08\x0a-\x1f\x7f]*?)[ \t]*", line)
            assert field, f"not a header: {line!r}"
            headers.append((field[1], field[2]))
        reply = Reply(first[1], status, first[3], headers, b"")
        assert not reply.all("Transfer-Encoding"), reply
        length = reply.header("Content-Length")
        if status < 200 or status == 204:
            assert length in (None, "0"), reply
        else:
            assert length is not None and re.fullmatch(r"\d+", length), f"no good Content-Length: {reply}"
            if method != "HEAD" and status != 304:
                reply.body = self._exactly(int(length))
        return reply

    def ask(self, method, target, headers=(), body=None):
        """Send one request and read its reply; the connection stays open."""
        self.send(message(method, target, headers, body))
        return self.read(method)

    def get(self, target, headers=()):
        return self.ask("GET", target, headers)

    def at_end(self):
        """Wait until the server closes. Returns: whether nothing more came before."""
        while True:
            try:
                data = self.socket.recv(65536)
            except ConnectionResetError:
                data = b""
            if not data:
                return self.buffer == b""
            self.buffer += data


def raw(text):
    return text if isinstance(text, bytes) else text.encode("latin-1")


def message(method, target, headers=(), body=None):
    """The bytes of a request. Headers are pairs or a dict; Host and Content-Length are added where missing."""
    pairs = list(headers.items() if isinstance(headers, dict) else headers)
    names = {raw(name).lower() for name, _ in pairs}
    if b"host" not in names:
        pairs.insert(0, ("Host", "test"))
    if body is not None and not names & {b"content-length", b"transfer-encoding"}:
        pairs.append(("Content-Length", str(len(raw(body)))))
    head = raw(method) + b" " + raw(target) + b" HTTP/1.1\r\n"
    head += b"".join(raw(name) + b": " + raw(value) + b"\r\n" for name, value in pairs)
    return head + b"\r\n" + (raw(body) if body is not None else b"")


class Output:
    """The lines of a pipe, read by a thread of their own, so that one can wait for them."""

    def __init__(self, pipe):
        self.lines = []
        self._changed = threading.Condition()
        self._ended = False
        self._thread = threading.Thread(target=self._read, args=(pipe,), daemon=True)
        self._thread.start()

    def _read(self, pipe):
        with pipe:
            for line in pipe:
                with self._changed:
                    self.lines.append(line.decode("utf-8", "surrogateescape").rstrip("\n"))
                    self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    @property
    def text(self):
        with self._changed:
            return "\n".join(self.lines)

    def wait(self, pattern, count=1, deadline_s=DEADLINE_S):
        """Wait until `count` lines match. Returns: their match objects."""
        end = time.monotonic() + deadline_s
        with self._changed:
            while True:
                found = [m for m in (re.search(pattern, line) for line in self.lines) if m]
                if len(found) >= count:
                    return found
                left = end - time.monotonic()
                if self._ended or left <= 0:
                    why = "the output ended" if self._ended else f"{deadline_s} s passed"
                    raise AssertionError(f"{why} without {count} x /{pattern}/:\n" + "\n".join(self.lines))
                self._changed.wait(left)

    def wait_end(self):
        self._thread.join(DEADLINE_S)
        assert not self._thread.is_alive(), "somebody still holds the pipe"


class Server:
    """poolsrv with an app, listening on a port of its own choice (or on what the options say)."""

    def __init__(self, app, *options, env=None, cwd=None, under=(), **popen):
        """`under` is a command that ends by running the rest of its arguments, such as a shell's exec."""
        options = [str(option) for option in options]
        if not {"--port", "--unix"} & set(options) and "LISTEN_FDS" not in (env or {}):
            options += ["--port", "0"]
        self.app = Path(app)
        self.expected_code = 0
        self.process = subprocess.Popen([*under, PROGRAM, *options, str(app)], env=environment(env), cwd=cwd,
                                        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                        **popen)
        self.out = Output(self.process.stdout)
        self.log = Output(self.process.stderr)
        try:
            listening = self.out.wait(r"^listening on (\S+)$", count=2 if "--admin" in options else 1)
        except AssertionError as why:
            self.kill()
            raise AssertionError(f"{why}\n{self.log.text}") from None
        addresses = [parse_address(m[1]) for m in listening]
        self.address = addresses[0]
        self.admin_address = addresses[1] if len(addresses) > 1 else None

    @property
    def port(self):
        return self.address[1]

    def client(self, timeout=DEADLINE_S):
        return Client(self.address, timeout)

    def ask(self, method, target, headers=(), body=None):
        """One request on a connection of its own."""
        with self.client() as client:
            return client.ask(method, target, headers, body)

    def get(self, target, headers=()):
        return self.ask("GET", target, headers)

    def post(self, target, body, headers=()):
        return self.ask("POST", target, headers, body)

    def admin(self, target, method="GET"):
        with Client(self.admin_address) as client:
            return client.ask(method, target)

    def until(self, look, deadline_s=DEADLINE_S):
        """Call look() until it returns something true, for what the server shows by its behaviour only."""
        end = time.monotonic() + deadline_s
        while True:
            value = look()
            if value:
                return value
            assert time.monotonic() < end, f"{deadline_s} s passed; the log:\n{self.log.text}"
            time.sleep(0.02)

    def write_app(self, text):
        replace(self.app, text)

    def send_signal(self, number):
        self.process.send_signal(number)

    def wait(self):
        """Wait for its end. Returns: the exit code."""
        code = self.process.wait(DEADLINE_S)
        self.out.wait_end()
        self.log.wait_end()
        return code

    def stop(self, number=signal.SIGTERM):
        """Stop it, if it still runs. Returns: the exit code."""
        if self.process.poll() is None:
            self.send_signal(number)
        try:
            return self.wait()
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"it did not stop:\n{self.log.text}") from None

    def kill(self):
        self.process.kill()
        self.wait()

    def check_end(self):
        """Stop it and look for what no test may leave behind: a wrong exit code, a sanitizer's report."""
        code = self.stop()
        assert not SANITIZER.search(self.log.text), self.log.text
        assert code == self.expected_code, f"exit code {code}, not {self.expected_code}:\n{self.log.text}"


# For a server that a Probe is to find as it was: a heavy thread more than it began with keeps its descriptors.
STEADY = ("--max-heavy", "1")


class Probe:
    """tests/probe beside an attack, which is the block's body:

        with Probe(server, "--own", "header", path="/alive"):
            attack(server)

    Start the server with STEADY. The block begins when the probe has measured what was before; at its end the probe
    is told to stop, and every promise has to have held. Afterwards `report` is what it printed, as tests/probe --json
    does. `options` are tests/probe's. A server under a sanitizer is slow and keeps what it frees: it has more time, and its memory is
    not compared."""

    def __init__(self, server, *options, path="/", pid=None):
        address = server.address
        if not isinstance(address, str):
            address = ("[%s]:%d" if ":" in address[0] else "%s:%d") % address
        else:
            address = "unix:" + address
        sanitised = ["--no-rss", "--p99", "5000", "--timeout", "20"] if UNDER_SANITIZER else []
        self._command = [str(ROOT / "tests/probe"), "--json", "--path", path, "--pid", str(pid or server.process.pid),
                         *sanitised, *map(str, options), address]
        self.report = None

    def __enter__(self):
        self._process = subprocess.Popen(self._command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                         stderr=subprocess.PIPE, env=environment())
        self._out, self._log = Output(self._process.stdout), Output(self._process.stderr)
        try:
            self._log.wait(r"^probing$")
        except AssertionError:
            self._process.kill()
            self._process.wait()
            raise
        return self

    def __exit__(self, kind, value, trace):
        self._process.send_signal(signal.SIGINT if kind is None else signal.SIGKILL)
        self._process.wait(DEADLINE_S * 3)
        if kind is None:
            self._out.wait_end()
            self._log.wait_end()
            assert self._process.returncode in (0, 1), self._log.text
            self.report = json.loads(self._out.text)
            assert self.report["held"], self.report


def family_of(address):
    if isinstance(address, str):
        return socket.AF_UNIX
    return socket.AF_INET6 if ":" in address[0] else socket.AF_INET


def parse_address(text):
    """("127.0.0.1", 8080) of "http://127.0.0.1:8080", and the path of "unix:PATH"."""
    if text.startswith("unix:"):
        return text[5:]
    found = re.fullmatch(r"http://(?:\[([^\]]+)\]|([^:]+)):(\d+)", text)
    assert found, f"not an address: {text}"
    return (found[1] or found[2], int(found[3]))


def replace(path, text):
    """Write a file as editors do: whole, and under its name at once."""
    path = Path(path)
    fresh = path.with_name(path.name + ".new")
    fresh.write_text(text)
    fresh.replace(path)
