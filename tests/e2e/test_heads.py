"""How large a request's head may be: one byte or header more than each limit has its own status, and the end."""

import pytest

import poolsrv

APP = """
    function api.get(ctx) return "seen" end
    api.route("GET", "/*rest", function(ctx) return "seen" end)
"""
ROOM = ("--header-room", "64k")


def line_of(size, method=b"GET"):
    """A request line of so many bytes, without its end."""
    rest = b" HTTP/1.1"
    return method + b" /" + b"x" * (size - len(method) - 2 - len(rest)) + rest


def headers_of(count, size):
    """So many headers, Host among them, of so many bytes with the ends of their lines."""
    host = b"Host: test\r\n"
    names = [b"X%05d: \r\n" % i for i in range(count - 1)]
    missing = size - len(host) - sum(map(len, names))
    assert missing >= 0
    names[-1] = names[-1][:-2] + b"y" * missing + b"\r\n"
    return host + b"".join(names)


def statuses(server, data):
    """Of all replies, until the server closes or has nothing to answer any more."""
    with server.client() as client:
        client.send(data + b"GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")
        found = []
        while True:
            try:
                reply = client.read()
            except (EOFError, ConnectionResetError):
                return found
            found.append(reply.status)
            if reply.status >= 400:
                assert reply.header("Connection") == "close"


def test_a_request_line_one_byte_too_long_is_414(serve):
    server = serve(APP, *ROOM, *poolsrv.STEADY, "--max-request-line", "1000")
    rest = b"\r\nHost: test\r\n\r\n"
    with poolsrv.Probe(server):
        assert statuses(server, line_of(1000) + rest) == [200, 200]
        assert statuses(server, line_of(1001) + rest) == [414]
        assert statuses(server, line_of(20000) + rest) == [414]


def test_headers_one_byte_too_large_are_431(serve):
    server = serve(APP, *ROOM, *poolsrv.STEADY, "--max-header-size", "1000")
    with poolsrv.Probe(server):
        assert statuses(server, b"GET / HTTP/1.1\r\n" + headers_of(5, 1000) + b"\r\n") == [200, 200]
        assert statuses(server, b"GET / HTTP/1.1\r\n" + headers_of(5, 1001) + b"\r\n") == [431]
        assert statuses(server, b"GET / HTTP/1.1\r\n" + headers_of(2, 20000) + b"\r\n") == [431]


def test_one_header_too_many_is_431(serve):
    server = serve(APP, *ROOM, *poolsrv.STEADY, "--max-headers", "20")
    with poolsrv.Probe(server):
        assert statuses(server, b"GET / HTTP/1.1\r\n" + headers_of(20, 1000) + b"\r\n") == [200, 200]
        assert statuses(server, b"GET / HTTP/1.1\r\n" + headers_of(21, 1000) + b"\r\n") == [431]


def test_a_body_one_byte_too_large_is_413(serve):
    server = serve("function api.post(ctx) return #ctx:body() end function api.get() return 1 end", "--max-body", "10",
                   *poolsrv.STEADY)
    with poolsrv.Probe(server):
        post = b"POST / HTTP/1.1\r\nHost: test\r\n"
        assert statuses(server, post + b"Content-Length: 10\r\n\r\n" + b"x" * 10) == [200, 200]
        assert statuses(server, post + b"Content-Length: 11\r\n\r\n" + b"x" * 11) == [413]
        assert statuses(server, post + b"Transfer-Encoding: chunked\r\n\r\nb\r\n" + b"x" * 11 + b"\r\n0\r\n\r\n") == [413]


def test_the_limits_that_hold_by_default(serve):
    server = serve(APP, *ROOM)
    rest = b"\r\nHost: test\r\n\r\n"
    assert statuses(server, line_of(8192) + rest) == [200, 200]
    assert statuses(server, line_of(8193) + rest) == [414]
    assert statuses(server, b"GET / HTTP/1.1\r\n" + headers_of(100, 2000) + b"\r\n") == [200, 200]
    assert statuses(server, b"GET / HTTP/1.1\r\n" + headers_of(101, 2000) + b"\r\n") == [431]


def test_no_limit_is_what_the_room_holds(serve):
    server = serve(APP, *ROOM, "--max-request-line", "0", "--max-header-size", "0", "--max-headers", "0")
    assert statuses(server, line_of(20000) + b"\r\nHost: test\r\n\r\n") == [200, 200]
    assert statuses(server, b"GET / HTTP/1.1\r\n" + headers_of(200, 20000) + b"\r\n") == [200, 200]


@pytest.mark.parametrize("data, status", [
    (line_of(100000) + b"\r\nHost: test\r\n\r\n", b"414"),
    (b"GET / HTTP/1.1\r\n" + headers_of(2, 100000) + b"\r\n", b"431"),
], ids=["line", "headers"])
def test_what_its_room_does_not_hold_is_refused_by_the_daemon_with_the_same_status(serve, data, status):
    server = serve(APP)
    with server.client() as client:
        client.send(data)
        assert client.at_end() is False
        assert client.buffer.startswith(b"HTTP/1.1 " + status + b" ")
        assert b"seen" not in client.buffer


@pytest.mark.parametrize("method", (b"BREW", b"TRACE", b"CONNECT", b"PROPFIND", b"get", b"GETX"))
def test_an_unknown_method_is_501(serve, method):
    server = serve(APP)
    with server.client() as client:
        client.send(method + b" / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")
        assert client.read().status == 501


@pytest.mark.parametrize("version", (b"HTTP/1.2", b"HTTP/1.9"))
def test_another_version_is_505(serve, version):
    server = serve(APP)
    with server.client() as client:
        client.send(b"GET / " + version + b"\r\nHost: test\r\n\r\n")
        assert client.read().status == 505
        assert client.at_end()
