"""Requests whose frame can be read in two ways: each is refused, and nothing behind it is taken for a request."""

import re
import socket
import textwrap
from contextlib import suppress

import pytest

import poolsrv

APP = """
    local canaries = 0
    function api.get(ctx) return "hello" end
    function api.post(ctx) return ctx:body() end
    function api.fails.post(ctx) error("it fails") end
    function api.canary.get(ctx) canaries = canaries + 1 return "canary" end
    function api.canaries.get(ctx) return tostring(canaries) end
"""

CANARY = b"GET /canary HTTP/1.1\r\nHost: test\r\n\r\n"


def post(*headers, body=b"", target=b"/", version=b"HTTP/1.1", host=(b"Host: test",)):
    return b"\r\n".join([b"POST " + target + b" " + version, *host, *headers]) + b"\r\n\r\n" + body


def get(*headers, target=b"/", version=b"HTTP/1.1", host=(b"Host: test",)):
    return b"\r\n".join([b"GET " + target + b" " + version, *host, *headers]) + b"\r\n\r\n"


REFUSED = {
    "Content-Length twice, different": post(b"Content-Length: 0", b"Content-Length: 5", body=CANARY),
    "Content-Length twice, the same": post(b"Content-Length: 0", b"content-length: 0", body=CANARY),
    "Content-Length and chunked": post(b"Content-Length: 4", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n" + CANARY),
    "chunked and Content-Length": post(b"Transfer-Encoding: chunked", b"Content-Length: 4", body=b"0\r\n\r\n" + CANARY),
    "Transfer-Encoding identity": post(b"Transfer-Encoding: identity", b"Content-Length: 0", body=CANARY),
    "Transfer-Encoding gzip, chunked": post(b"Transfer-Encoding: gzip, chunked", body=b"0\r\n\r\n" + CANARY),
    "Transfer-Encoding chunked, identity": post(b"Transfer-Encoding: chunked, identity", body=b"0\r\n\r\n" + CANARY),
    "Transfer-Encoding xchunked": post(b"Transfer-Encoding: xchunked", body=b"0\r\n\r\n" + CANARY),
    "Transfer-Encoding twice": post(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked",
                                    body=b"0\r\n\r\n" + CANARY),
    "Transfer-Encoding in HTTP/1.0": post(b"Transfer-Encoding: chunked", version=b"HTTP/1.0",
                                          body=b"0\r\n\r\n" + CANARY),
    "a space before the colon": post(b"Content-Length : 5", body=b"hello" + CANARY),
    "a tab before the colon": post(b"Content-Length\t: 5", body=b"hello" + CANARY),
    "a name with a space": get(b"X Y: 1") + CANARY,
    "a name with a bracket": get(b"X[1]: 1") + CANARY,
    "a name with a byte above 127": get(b"X\xe9: 1") + CANARY,
    "a name with a control character": get(b"X\x01: 1") + CANARY,
    "no Host in HTTP/1.1": get(host=()) + CANARY,
    "Host twice": get(host=(b"Host: a", b"Host: b")) + CANARY,
    "Host twice, the same": get(host=(b"Host: a", b"host: a")) + CANARY,
    "Host with a path": get(host=(b"Host: test/canary",)) + CANARY,
    "Host with a blank": get(host=(b"Host: test other",)) + CANARY,
    "Host with a user": get(host=(b"Host: user@test",)) + CANARY,
    "a control character in a value": get(b"X-Y: a\x01b") + CANARY,
    "DEL in a value": get(b"X-Y: a\x7fb") + CANARY,
    "a bare CR in a value": get(b"X-Y: a\rb") + CANARY,
}

# libmicrohttpd answers these by itself, and version 0.9.75 writes the head of that answer twice: the status and
# the end of the connection are as they should be, the text of the reply is not.
REFUSED_BY_THE_DAEMON = {
    "Content-Length as a list": post(b"Content-Length: 0, 0", body=CANARY),
    "Content-Length with a sign": post(b"Content-Length: +0", body=CANARY),
    "Content-Length below zero": post(b"Content-Length: -1", body=CANARY),
    "Content-Length in hexadecimal": post(b"Content-Length: 0x0", body=CANARY),
    "Content-Length of nothing": post(b"Content-Length: ", body=CANARY),
    "Content-Length with a letter": post(b"Content-Length: 0a", body=CANARY),
    "Content-Length beyond 64 bits": post(b"Content-Length: 18446744073709551616", body=CANARY),
}


def replies(server, data):
    """Send it, and read to the end: nothing but whole replies may come."""
    with server.client() as client:
        client.send(data)
        client.finish_sending()
        client.at_end()
        text = client.buffer
    found = []
    while text:
        match = re.match(rb"HTTP/1\.[01] (\d{3})[^\n]*\r\n(?:[^\r\n]+\r\n)*?content-length: (\d+)\r\n"
                         rb"(?:[^\r\n]+\r\n)*\r\n", text, re.IGNORECASE)
        assert match, text
        length = int(match[2])
        assert len(text) >= match.end() + length, text
        found.append((int(match[1]), text[:match.end()].lower()))
        text = text[match.end() + length:]
    return found


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """One server for all tests here: it is to survive them all."""
    app = tmp_path_factory.mktemp("framing") / "app.lua"
    app.write_text(textwrap.dedent(APP))
    server = poolsrv.Server(app, "--threads", "1", "--heavy-threads", "1", "--lane", "light")
    yield server
    server.check_end()


@pytest.mark.parametrize("name", REFUSED)
def test_an_ambiguous_request_gets_one_400_and_the_connection_ends(server, name):
    found = replies(server, REFUSED[name])
    assert len(found) == 1, found
    status, head = found[0]
    assert status == 400
    assert b"connection: close\r\n" in head
    assert server.get("/canaries").text == "0"


@pytest.mark.parametrize("name", REFUSED_BY_THE_DAEMON)
def test_a_bad_content_length_is_refused_and_the_connection_ends(server, name):
    with server.client() as client:
        client.send(REFUSED_BY_THE_DAEMON[name])
        client.at_end()
        assert client.buffer.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 413 "))
        assert b"canary" not in client.buffer and b"200 OK" not in client.buffer
    assert server.get("/canaries").text == "0"


@pytest.mark.parametrize("target", (b"/%00", b"/a%00b", b"/%", b"/%2", b"/%zz", b"/canary%00"))
def test_a_path_that_is_not_well_encoded_is_400(server, target):
    found = replies(server, get(target=target))
    assert [status for status, _ in found] == [400]
    assert server.get("/canaries").text == "0"


@pytest.mark.parametrize("version", (b"HTTP/1.2", b"HTTP/2.0", b"HTTP/0.9", b"HTTP/11", b"http/1.1", b"HTTQ/1.1"))
def test_another_version_is_refused_and_the_connection_ends(server, version):
    found = replies(server, get(version=version) + CANARY)
    assert len(found) <= 1
    assert all(status in (400, 505) for status, _ in found)
    assert server.get("/canaries").text == "0"


BAD_CHUNKS = {
    "a size that is no number": b"z\r\nab\r\n0\r\n\r\n",
    "a negative size": b"-1\r\nab\r\n0\r\n\r\n",
    "a size with 0x": b"0x2\r\nab\r\n0\r\n\r\n",
    "a size beyond 64 bits": b"10000000000000000\r\nab\r\n0\r\n\r\n",
    "data longer than its size": b"2\r\nabcd\r\n0\r\n\r\n",
    "no size": b"\r\nab\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("name", BAD_CHUNKS)
def test_a_broken_chunk_ends_the_connection(server, name):
    found = replies(server, post(b"Transfer-Encoding: chunked", body=BAD_CHUNKS[name] + CANARY))
    assert all(status in (400, 413) for status, _ in found) and len(found) <= 1, found
    assert server.get("/canaries").text == "0"


def test_a_head_larger_than_its_room_is_refused(server):
    with server.client() as client:
        client.send(get(b"X-Big: " + b"x" * 40000))
        reply = client.read()
        assert reply.status in (413, 414, 431)
    assert server.get("/").status == 200


@pytest.mark.parametrize("request_bytes, status", [
    (get(b"X-Big: " + b"x" * 4000000), 431),
    (get(target=b"/" + b"x" * 4000000), 414),
    (b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: " + b"9" * 30 + b"\r\n\r\n" + b"x" * 4000000, 413),
    (b"POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n" + b"x" * 4000000, 400),
], ids=["head", "target", "length", "chunk"])
def test_what_the_daemon_refuses_reaches_a_client_that_sends_all_first(server, request_bytes, status):
    with server.client() as client:
        client.send(request_bytes)
        assert client.socket.recv(12) == f"HTTP/1.1 {status}".encode()
    assert server.get("/").status == 200


def test_what_looks_odd_but_is_fine_is_served(server):
    with server.client() as client:
        for request in (get(b"X-Empty:"), get(b"X-Spaces:  a b  "), get(b"x!#$%&'*+-.^_`|~09: token"),
                        get(host=(b"hOST: test",)), get(b"X-Latin: \xe9\xff"), get(host=(b"Host:",)),
                        get(b"X-Tab: a\tb"), get(target=b"http://test/")):
            client.send(request)
            assert client.read().status == 200, request
        client.send(post(b"Content-Length: 0003", body=b"abc"))
        assert client.read().body == b"abc"
        client.send(post(b"Transfer-Encoding: Chunked", body=b"3\r\nabc\r\n0\r\nTrailer: x\r\n\r\n"))
        assert client.read().body == b"abc"


def test_a_request_behind_a_chunked_one_is_served_where_the_end_of_the_body_is_sure(server):
    found = replies(server, post(b"Transfer-Encoding: chunked", body=b"3\r\nabc\r\n0\r\n\r\n" + get()))
    assert [status for status, _ in found] == ([200] if poolsrv.CHUNKED_CLOSES else [200, 200])
    assert (b"connection: close\r\n" in found[0][1]) == poolsrv.CHUNKED_CLOSES


def test_a_chunk_extension_is_skipped(server):
    """Where libmicrohttpd takes the end of its line for bytes of the chunk, the chunk is refused."""
    before = int(server.get("/canaries").text)
    found = replies(server, post(b"Transfer-Encoding: chunked", body=b"3;name=value\r\nabc\r\n0\r\n\r\n" + CANARY))
    assert [status for status, _ in found] == ([400] if poolsrv.CHUNKED_CLOSES else [200, 200])
    assert int(server.get("/canaries").text) - before == (0 if poolsrv.CHUNKED_CLOSES else 1)


# Behind the last chunk stands a trailer, though each of these looks like a request: the second has a colon.
TRAILERS = {
    "a request": CANARY,
    "a request that could be a field": CANARY.replace(b"/canary", b"/canary?a:b"),
}
LAST_CHUNKS = {
    "no extension": b"0\r\n",
    "an extension": b"0;name=value\r\n",
    "an extension of nothing": b"0;\r\n",
    "an extension with quotes": b'0;name="\\";"\r\n',
    "an extension behind a blank": b"0 ;name\r\n",
    "an extension and many zeros": b"0000;name\r\n",
    "an extension and a line feed": b"0;name\n",
    "extensions of two chunks": b"3;name\r\nabc\r\n0;name\r\n",
}


@pytest.fixture(params=TRAILERS)
def trailer(request):
    return TRAILERS[request.param]


@pytest.fixture(params=LAST_CHUNKS)
def trailing(request, trailer):
    """A request with a chunked body, and a trailer."""
    return post(b"Transfer-Encoding: chunked", body=b"3\r\nabc\r\n" + LAST_CHUNKS[request.param] + trailer)


def test_a_trailer_is_no_request(server, trailing):
    before = server.get("/canaries").text
    found = replies(server, trailing)
    assert (len(found), server.get("/canaries").text) == (1, before)


def test_a_trailer_that_comes_byte_by_byte_is_no_request(server, trailing):
    before = server.get("/canaries").text
    with server.client() as client:
        client.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with suppress(OSError):  # it may have closed already
            for i in range(len(trailing)):
                client.send(trailing[i:i + 1])
            client.finish_sending()
        client.at_end()
        assert client.buffer.count(b"HTTP/1.1 ") <= 1
    assert server.get("/canaries").text == before


@pytest.mark.parametrize("lane", ("light", "heavy"))
@pytest.mark.parametrize("target, status", ((b"/", 200), (b"/none", 404), (b"/fails", 500), (b"/small", 413)))
def test_no_reply_leaves_the_trailer_for_the_next_request(serve, lane, target, status):
    """Each kind of reply goes its own way."""
    server = serve(APP, "--lane", lane, "--max-body", "3")
    body = b"4\r\nabcd\r\n" if status == 413 else b"3\r\nabc\r\n"
    found = replies(server, post(b"Transfer-Encoding: chunked", target=target, body=body + b"0;name\r\n" + CANARY))
    assert [code for code, _ in found] in ([status], [400])
    assert server.get("/canaries").text == "0"
