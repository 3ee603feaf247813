"""What tests that make calls fail ask a server for, and how they see that it is well."""

APP = """
    function api.get(ctx) return "hello" end
    local function large()
        local t = {}
        for i = 1, 20000 do t[i] = ("%06d"):format(i) end
        return table.concat(t)
    end
    api.large.get = large
    function api.heavy.large.get(ctx) sleep(0) return large() end
    function api.echo.post(ctx) return { n = #ctx:body(), q = ctx:query() } end
    function api.heavy.get(ctx) sleep(0) return { ctx.path } end
    api.on_start(function() end)
"""

REQUESTS = {
    "light": ("GET", "/", None),
    "heavy": ("GET", "/heavy", None),
    "body": ("POST", "/echo?a=1&b=2", "x" * 20000),
    "large": ("GET", "/large", None),
    "none": ("GET", "/nowhere", None),
}


def ask(server, method, target, body=None):
    """The status, or None where the connection was given up before a whole reply."""
    try:
        with server.client() as client:
            return client.ask(method, target, body=body).status
    except (EOFError, ConnectionError):
        return None


def check_health(server):
    assert server.process.poll() is None, server.log.text
    reply = server.post("/echo?a=1", "x" * 5000)
    assert (reply.status, reply.json()) == (200, {"n": 5000, "q": {"a": "1"}})
    assert server.get("/").text == "hello"
    assert server.get("/heavy").json() == ["/heavy"]
    assert len(server.get("/large").body) == 120000
