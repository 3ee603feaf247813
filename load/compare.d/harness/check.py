"""Is a reply what it has to be: status, content type, length, and the JSON by its value?"""

import http.client
import json

ASK_S = 10


class CannotAsk(Exception):
    """There was no reply."""


class Wrong(Exception):
    """There was one, but not the right one."""


class Asker:
    """One connection, kept as long as the server keeps it."""

    def __init__(self, port):
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=ASK_S)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.connection.close()

    def ask(self, request):
        """Send it; returns (the reply, its body)."""
        try:
            self.connection.putrequest(request.method, request.path, skip_accept_encoding=True)
            for name, value in request.headers:
                self.connection.putheader(name, value)
            body = request.body.encode() if request.body is not None else None
            if body is not None:
                self.connection.putheader("Content-Length", str(len(body)))
            self.connection.endheaders(body)
            reply = self.connection.getresponse()
            body = reply.read()
            if ("Connection", "close") in request.headers:
                self._see_end()
            return reply, body
        except (OSError, http.client.HTTPException) as why:
            self.connection.close()
            raise CannotAsk(f"{request.path}: {why or type(why).__name__}") from None

    def _see_end(self):
        """The server closes, as it was asked to, whether it says so or not."""
        rest = self.connection.sock.recv(1) if self.connection.sock else b""
        self.connection.close()
        if rest:
            raise CannotAsk("more than a reply came")

    def checked(self, request):
        """Send it and look at the reply; returns its body as text."""
        reply, body = self.ask(request)
        problem = _problem(request, reply, body)
        if problem:
            raise Wrong(f"{request.method} {request.path}: {problem}")
        return body.decode()


def _problem(request, reply, body):
    kind = (reply.getheader("Content-Type") or "").split(";")[0].strip().lower()
    if reply.status != 200:
        return f"status {reply.status}"
    if kind != "application/json":
        return f"content type {reply.getheader('Content-Type')}"
    if reply.getheader("Content-Length") != str(len(body)):
        return f"Content-Length {reply.getheader('Content-Length')} for {len(body)} bytes"
    try:
        value = json.loads(body)
    except ValueError as why:
        return f"no JSON: {why}: {body[:200]!r}"
    if not same(value, request.expect):
        return f"answers {body[:200]!r} and not {json.dumps(request.expect)[:200]}"
    return None


def same(a, b):
    """Equal by value and by type: 1 is neither true nor "1", and a whole number may be written 1.0."""
    if isinstance(a, bool) or isinstance(b, bool):
        return a is b
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b


def check(port, case):
    """Every request of a case. Returns: the body that the timed one gets."""
    with Asker(port) as asker:
        for request in case.also:
            asker.checked(request)
        return asker.checked(case.request)
