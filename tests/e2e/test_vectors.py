"""Requests that others collected: gunicorn's test vectors, in ../shared/vectors/http.

The valid ones are answered, the invalid ones are refused before a handler sees them; where poolsrv is of another mind
than gunicorn the file is listed with the reason."""

import re
from contextlib import suppress

import pytest

from poolsrv import CHUNKED_CLOSES, FOLDS_REFUSED, Server, SHARED

APP = """
    local function see(ctx) return "seen " .. #ctx:body() end
    for _, method in ipairs { "GET", "POST", "PUT", "PATCH", "DELETE", "HEAD" } do
        api.route(method, "/", see)
        api.route(method, "/*rest", see)
    end
    function api.alive.get() return "alive" end
"""

CODING = "no transfer coding but chunked is undone here"
BLANK = "a blank before the colon hides a header from some readers"
PROXY = "the PROXY protocol is not spoken here"
VALID_BUT_REFUSED = {
    "009": CODING, "025": CODING, "025_line": CODING, "029": CODING, "030": CODING,
    "rfc9112_smuggle_gzip_chunked_01": CODING, "rfc9112_smuggle_te_identity_chunked_01": CODING,
    "028": BLANK,
    "pp_01": PROXY, "pp_02": PROXY, "pp_04": PROXY, "pp_05": PROXY,
    "099": "it ends before its body does",
}
if FOLDS_REFUSED:
    FOLD = "a header is continued on a second line"
    VALID_BUT_REFUSED.update({"compat_obs_fold": FOLD, "compat_obs_fold_huge": FOLD})
if CHUNKED_CLOSES:
    EXTENSION = "this libmicrohttpd refuses chunk extensions"
    VALID_BUT_REFUSED.update({"013": EXTENSION, "rfc9112_chunked_ext_quoted_01": EXTENSION})

LIMIT = "gunicorn was given a lower limit"
TRAILER = "trailers are dropped unseen"
INVALID_BUT_SERVED = {
    "006": LIMIT, "011": LIMIT, "012": LIMIT,
    "040": "an underscore is a byte like others: no header is taken for another",
    "041": "a repeated Content-Type says nothing about the frame",
    "rfc9110_trailer_forbidden_cl_01": TRAILER, "rfc9110_trailer_forbidden_host_01": TRAILER,
    "rfc9110_trailer_forbidden_te_01": TRAILER,
}
if not FOLDS_REFUSED:
    INVALID_BUT_SERVED["obs_fold_01"] = "libmicrohttpd joins folded lines"


def vectors(kind):
    return sorted(path.stem for path in (SHARED / "vectors/http" / kind).glob("*.http"))


def bytes_of(kind, name):
    r"""A vector's request: line breaks mean nothing in the file, \r, \n, \t, \0 and \x1f are written out."""
    text = (SHARED / "vectors/http" / kind / f"{name}.http").read_bytes().replace(b"\r", b"").replace(b"\n", b"")
    for written, meant in ((rb"\r", b"\r"), (rb"\n", b"\n"), (rb"\t", b"\t"), (rb"\0", b"\0")):
        text = text.replace(written, meant)
    return re.sub(rb"\\x([0-9A-Fa-f]{2})", lambda found: bytes([int(found[1], 16)]), text)


def with_host(request):
    """Many of them have no Host, which HTTP/1.1 asks for."""
    if re.search(rb"\r\nhost\s*:", request, re.I):
        return request
    return request.replace(b" HTTP/1.1\r\n", b" HTTP/1.1\r\nHost: test\r\n")


def talk(server, request):
    """Send it, and nothing more. Returns: the status codes of the replies, and all of their bytes."""
    out = b""
    with server.client() as client:
        with suppress(OSError):  # it may have closed already
            client.send(request)
            client.finish_sending()
        with suppress(ConnectionResetError):
            while data := client.socket.recv(65536):
                out += data
    return [int(code) for code in re.findall(rb"HTTP/1\.[01] (\d{3}) ", out)], out


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    app = tmp_path_factory.mktemp("vectors") / "app.lua"
    app.write_text(APP)
    running = Server(app, "--threads", "1", "--heavy-threads", "1")
    yield running
    running.check_end()


@pytest.mark.parametrize("name", vectors("valid"))
def test_a_valid_request_is_answered(server, name):
    codes, out = talk(server, with_host(bytes_of("valid", name)))
    if name in VALID_BUT_REFUSED:
        assert set(codes) <= {400} and b"seen" not in out, "it is answered, and no exception any more"
    else:
        assert codes and 400 not in codes, out
    assert server.get("/alive").text == "alive"


@pytest.mark.parametrize("name", vectors("invalid"))
def test_an_invalid_request_is_refused_once_and_reaches_no_handler(server, name):
    codes, out = talk(server, bytes_of("invalid", name))
    if name in INVALID_BUT_SERVED:
        assert codes == [200] and b"seen" in out, "it is refused, and no exception any more"
    else:
        assert b"seen" not in out
        # One reply; libmicrohttpd 0.9.75 writes the head of some of its own twice.
        assert len(set(codes)) <= 1 and all(400 <= code < 600 for code in codes), out
    assert server.get("/alive").text == "alive"
