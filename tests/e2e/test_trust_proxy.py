"""--trust-proxy: what Forwarded and X-Forwarded-... say counts if a trusted peer says it, and only then."""

import pytest

import poolsrv

APP = """
    function api.get(ctx) return { ctx.ip or json.null, ctx.scheme, ctx.host or json.null } end
"""
LOOPBACK = ("--trust-proxy", "127.0.0.0/8,::1")
FORWARDED = {"Forwarded": "for=192.0.2.60;proto=https;host=example.org"}
COMMON = {"X-Forwarded-For": "192.0.2.60", "X-Forwarded-Proto": "https", "X-Forwarded-Host": "example.org"}


def told(server, headers=()):
    return server.get("/", headers).json()


@pytest.mark.parametrize("headers", [FORWARDED, COMMON])
def test_by_default_nobody_is_trusted(serve, headers):
    assert told(serve(APP), headers) == ["127.0.0.1", "http", "test"]


@pytest.mark.parametrize("headers", [FORWARDED, COMMON])
def test_who_is_not_in_the_list_is_not(serve, headers):
    assert told(serve(APP, "--trust-proxy", "10.0.0.0/8,127.0.0.2,unix"), headers) == ["127.0.0.1", "http", "test"]


@pytest.mark.parametrize("headers", [FORWARDED, COMMON])
@pytest.mark.parametrize("context", ["eager", "lazy", "preregistered", "recycled"])
def test_a_trusted_peer_tells_address_scheme_and_host(serve, headers, context):
    server = serve(APP, *LOOPBACK, "--context", context)
    assert told(server, headers) == ["192.0.2.60", "https", "example.org"]
    # Nothing of it stays with the connection or the context.
    with server.client() as client:
        assert client.get("/", headers).json() == ["192.0.2.60", "https", "example.org"]
        assert client.get("/").json() == ["127.0.0.1", "http", "test"]


@pytest.mark.parametrize("headers", [
    {"Forwarded": "for=198.51.100.1;proto=https;host=evil, for=192.0.2.60"},
    {"Forwarded": "for=198.51.100.1, for=192.0.2.60, for=127.0.0.9"},
    {"Forwarded": 'for=", for=192.0.2.60'},
    {"X-Forwarded-For": "198.51.100.1, 192.0.2.60"},
    {"X-Forwarded-For": "127.0.0.1, 192.0.2.60, 127.0.0.9"},
    [("X-Forwarded-For", "198.51.100.1"), ("X-Forwarded-For", "192.0.2.60")],
])
def test_what_the_client_made_up_does_not_count(serve, headers):
    assert told(serve(APP, *LOOPBACK), headers) == ["192.0.2.60", "http", "test"]


@pytest.mark.parametrize("headers", [
    {"Forwarded": "for="}, {"Forwarded": "x"}, {"Forwarded": 'for="192.0.2.60'}, {"Forwarded": "for=192.0.2.60,"},
    {"Forwarded": "for=192.0.2.60;proto=javascript"}, {"Forwarded": 'for=192.0.2.60;host="a<b>"'},
    {"X-Forwarded-For": "192.0.2.600"}, {"X-Forwarded-For": ","}, {"X-Forwarded-For": "a" * 3000},
    {"X-Forwarded-For": "," * 3000}, {"X-Forwarded-For": "192.0.2.60", "X-Forwarded-Proto": "x"},
    {"X-Forwarded-For": "192.0.2.60", "Forwarded": "for=192.0.2.61"},
])
def test_what_cannot_be_read_is_refused(serve, headers):
    """Its client must not become the proxy, whose address the app may know."""
    server = serve(APP, *LOOPBACK)
    with server.client() as client:
        reply = client.get("/", headers)
        assert reply.status == 400 and "where the request comes from" in reply.json()["error"]
        assert client.at_end()
    assert told(server) == ["127.0.0.1", "http", "test"]
    # From somebody who is not trusted they say nothing, and harm nobody.
    assert told(serve(APP, "--trust-proxy", "10.0.0.1"), headers) == ["127.0.0.1", "http", "test"]


def test_a_unix_socket_can_be_trusted(serve, tmp_path):
    server = serve(APP, "--unix", tmp_path / "s", "--trust-proxy", "unix")
    assert told(server, FORWARDED) == ["192.0.2.60", "https", "example.org"]
    assert told(server) == [None, "http", "test"]


def test_a_unix_socket_is_not_trusted_unless_named(serve, tmp_path):
    server = serve(APP, "--unix", tmp_path / "s", "--trust-proxy", "0.0.0.0/0,::/0")
    assert told(server, FORWARDED) == [None, "http", "test"]


def test_the_access_log_has_the_same_address(serve):
    server = serve(APP, *LOOPBACK, "--access-log")
    assert told(server, FORWARDED)[0] == "192.0.2.60"
    server.log.wait(r'192\.0\.2\.60 .*GET')


def test_host_is_what_the_client_asked_for(serve):
    server = serve(APP)
    assert told(server, {"Host": "Example.ORG:8080"})[2] == "Example.ORG:8080"
    with server.client() as client:
        client.send(b"GET http://other.example:81/ HTTP/1.1\r\nHost: test\r\n\r\n")
        assert client.read().json()[2] == "other.example:81"
        client.send(b"GET / HTTP/1.0\r\n\r\n")
        assert client.read().json()[2] is None


def test_the_app_can_say_it_and_the_command_line_goes_first(serve):
    config = 'api.config { trust_proxy = "127.0.0.1" }\n'
    assert told(serve(config + APP), FORWARDED)[0] == "192.0.2.60"
    assert told(serve(config + APP, "--trust-proxy", "10.0.0.1"), FORWARDED)[0] == "127.0.0.1"


@pytest.mark.parametrize("value", ["", "x", "10.0.0.0/33", "10.0.0.1/8", "127.0.0.1,", "10.0.0.0/8;unix", "fd00::/8/8"])
def test_a_list_with_a_mistake_is_refused(tmp_path, value):
    app = tmp_path / "app.lua"
    app.write_text("function api.get() end")
    done = poolsrv.run("--port", "0", "--trust-proxy", value, app)
    assert done.returncode == 2, done
    assert "trust_proxy = " in done.stderr and "10.0.0.0/8,fd00::/8,unix" in done.stderr
