"""before, after, on_error: who is called, in which order, and what comes of it."""

import pytest


def test_before_runs_outermost_first_and_is_inherited(serve):
    server = serve("""
        function api.before(ctx) ctx.seen = "root" end
        function api.a.before(ctx) ctx.seen = ctx.seen .. " a" end
        function api.a.b.before(ctx) ctx.seen = ctx.seen .. " b" end
        function api.get(ctx) return ctx.seen end
        function api.a.get(ctx) return ctx.seen end
        function api.a.b.p_x.get(ctx) return ctx.seen end
        function api.z.get(ctx) return ctx.seen end
    """)
    assert [server.get(path).text for path in ("/", "/a", "/a/b/1", "/z")] == ["root", "root a", "root a b", "root"]


def test_hooks_hold_for_routes_defined_before_them_and_by_pattern(serve):
    server = serve("""
        function api.a.get() return "handler" end
        api.route("GET", "/a/:id", function() return "pattern" end)
        function api.a.before() return "before" end
    """)
    assert server.get("/a").text == "before"
    assert server.get("/a/7").text == "before"


@pytest.mark.parametrize("returned, status, text", [
    ("'stop'", 200, "stop"), ("nil, 404", 404, ""), ("api.status(403)", 403, ""), ("false", 200, "false")])
def test_what_before_returns_is_the_reply(serve, returned, status, text):
    server = serve(f"""
        function api.before(ctx) return {returned} end
        function api.a.before(ctx) print("inner before ran") end
        function api.a.get(ctx) print("handler ran") end
    """)
    reply = server.get("/a")
    assert (reply.status, reply.text) == (status, text)
    assert "ran" not in server.log.text


def test_after_runs_innermost_first_and_may_replace_the_reply(serve):
    server = serve("""
        function api.after(ctx, reply) return reply:header("X-Order", ctx.order .. " root") end
        function api.a.after(ctx, reply) ctx.order = "a" return api.text("replaced", 202) end
        function api.a.get(ctx) return "handler" end
        function api.kept.after(ctx, reply) ctx.order = "kept" end
        function api.kept.get(ctx) return "handler", 201 end
    """)
    reply = server.get("/a")
    assert (reply.status, reply.text, reply.header("X-Order")) == (202, "replaced", "a root")
    reply = server.get("/kept")
    assert (reply.status, reply.text, reply.header("X-Order")) == (201, "handler", "kept root")


def test_after_runs_whichever_way_the_reply_came(serve):
    server = serve("""
        function api.after(ctx, reply) return reply:header("X-After", tostring(reply:status())) end
        function api.returned.get() return "x" end
        function api.empty.get() end
        function api.raised.get() error(api.error(409, "x")) end
        function api.before.get() return "never" end
        api.before.before = function() return "early", 401 end
        function api.failed.on_error(ctx, err) return "recovered", 502 end
        function api.failed.get() error("x") end
    """)
    for path, status in [("returned", 200), ("empty", 204), ("raised", 409), ("before", 401), ("failed", 502)]:
        reply = server.get("/" + path)
        assert (reply.status, reply.header("X-After")) == (status, str(status)), path


def test_on_error_gets_the_error_and_the_traceback_nearest_first(serve):
    server = serve("""
        function api.on_error(ctx, err, traceback) return { by = "root", err = tostring(err) } , 500 end
        function api.a.on_error(ctx, err, traceback)
            return { by = "a", err = err, traced = traceback:find("app.lua", 1, true) ~= nil }, 503
        end
        function api.a.get() error("boom", 0) end
        function api.b.on_error() end
        function api.b.get() error("passed on", 0) end
        function api.c.on_error() error("worse") end
        function api.c.get() error("first", 0) end
        function api.t.on_error(ctx, err) return { code = err.code }, 400 end
        function api.t.get() error({ code = 7 }) end
        function api.json.post(ctx) return ctx:json() end
    """)
    reply = server.get("/a")
    assert (reply.status, reply.json()) == (503, {"by": "a", "err": "boom", "traced": True})
    assert server.get("/b").json() == {"by": "root", "err": "passed on"}
    assert server.get("/c").json() == {"by": "root", "err": "first"}
    assert server.get("/t").json() == {"code": 7}
    server.log.wait("worse")
    assert server.post("/json", "[").status == 400  # a raised reply is no error


def test_an_error_that_no_hook_answers_is_the_usual_500(serve):
    server = serve("""
        function api.on_error() end
        function api.after(ctx, reply) end
        function api.get() error("unanswered") end
        function api.after.get() return 1 end
    """)
    reply = server.get("/", {"X-Request-Id": "r1"})
    assert (reply.status, reply.json()) == (500, {"error": "Internal Server Error", "status": 500, "request_id": "r1"})
    server.log.wait(r"\[r1\].*unanswered")
    server.until(lambda: "stack traceback" in server.log.text)


def test_with_dev_a_hooked_route_has_its_traceback_in_the_reply(serve):
    server = serve("""
        function api.after(ctx, reply) end
        local function inner() error("deep inside") end
        function api.get() inner() return 1 end
    """, "--dev")
    traceback = server.get("/").json()["traceback"]
    assert "app.lua:3: deep inside" in traceback
    assert "app.lua:4" in traceback


def test_every_hook_may_wait(serve):
    server = serve("""
        function api.before(ctx) sleep(0.005) ctx.a = "before" end
        function api.on_error(ctx, err) sleep(0.005) return ctx.a .. " error" end
        function api.after(ctx, reply) sleep(0.005) return reply:header("X-A", ctx.a .. " after") end
        function api.get(ctx) sleep(0.005) error("x") end
        function api.p_n.get(ctx) sleep(0.005) return ctx.a .. ctx:params().n end
    """)
    reply = server.get("/")
    assert (reply.text, reply.header("X-A")) == ("before error", "before after")
    reply = server.get("/7")
    assert (reply.text, reply.header("X-A")) == ("before7", "before after")


def test_a_reply_raised_in_a_hook_is_the_reply(serve):
    server = serve("""
        function api.a.before() error(api.error(401, "before")) end
        function api.a.get() return "never" end
        function api.b.after() error(api.error(402, "after")) end
        function api.b.get() return "replaced" end
        function api.c.on_error() error(api.error(418, "on_error")) end
        function api.c.get() error("x") end
    """)
    for path, status, word in [("a", 401, "before"), ("b", 402, "after"), ("c", 418, "on_error")]:
        reply = server.get("/" + path)
        assert (reply.status, reply.json()["error"]) == (status, word)


def test_an_error_in_after_goes_to_on_error(serve):
    server = serve("""
        function api.on_error(ctx, err) return "on_error", 500 end
        function api.after(ctx, reply) error("in after") end
        function api.get() return "fine" end
    """)
    assert server.get("/").text == "on_error"


def test_hooks_do_not_run_for_what_the_server_answers_itself(serve):
    server = serve("""
        function api.before() print("hook ran") end
        function api.x.get() return 1 end
    """)
    assert server.get("/nowhere").status == 404
    assert server.ask("POST", "/x").status == 405
    assert server.ask("OPTIONS", "/x").status == 204
    assert "hook ran" not in server.log.text


def test_a_status_returned_beside_a_kept_reply_does_not_change_it(serve):
    server = serve("""
        local kept = api.text("kept")
        function api.after(ctx, reply) end
        function api.a.get() return kept, 201 end
        function api.b.get() return kept end
    """, "--lane", "light")
    assert server.get("/a").status == 201
    assert server.get("/b").status == 200


@pytest.mark.parametrize("leave", ["return kept", "error(kept)", "return kept, 200"])
def test_what_a_hook_adds_to_a_kept_reply_is_not_seen_by_the_next_user(serve, leave):
    server = serve(f"""
        local kept = api.json({{ ok = true }}):status(200):cookie("own", "1")
        function api.after(ctx, reply)
            local user = ctx:header("x-user")
            return reply:cookie("user", user):header("X-User", user)
        end
        function api.get() {leave} end
    """, "--lane", "light")
    for user in ("ann", "bob", "eve"):
        reply = server.get("/", {"X-User": user})
        assert reply.all("Set-Cookie") == ["own=1", f"user={user}"]
        assert reply.header("X-User") == user


def test_a_heavy_route_has_its_hooks_too(serve):
    server = serve("""
        function api.before(ctx) ctx.a = "before" end
        api.get = api.heavy(function(ctx) return ctx.a end)
    """)
    for _ in range(3):
        assert server.get("/").text == "before"


# --- on_start, on_stop ---


def test_on_start_runs_once_a_process_before_listening_and_on_stop_at_the_end(serve):
    server = serve("""
        api.on_start(function() print("start process") end)
        api.on_stop(function() print("stop process") end)
        api.on_start(function() print("start vm") end, { each = "vm" })
        api.on_stop(function() print("stop vm") end, { each = "vm" })
        function api.get() return "ok" end
    """, "--threads", "2", "--heavy-threads", "1")
    assert server.get("/").text == "ok"
    assert server.stop() == 0
    lines = server.log.text
    assert lines.count("start process") == lines.count("stop process") == 1
    assert lines.count("start vm") == lines.count("stop vm") == 3
    assert lines.index("start process") < lines.index("start vm")


def test_what_on_start_prepares_is_there_for_every_vm(serve, tmp_path):
    server = serve("""
        api.on_start(function()
            local f = assert(io.open(os.getenv("PREPARED"), "w"))
            f:write("ready") f:close()
        end)
        local ready
        api.on_start(function() ready = assert(io.open(os.getenv("PREPARED"))):read("a") end, { each = "vm" })
        function api.get() return ready end
    """, env={"PREPARED": str(tmp_path / "prepared")})
    for _ in range(20):
        assert server.get("/").text == "ready"


@pytest.mark.parametrize("each", ["", ", { each = 'vm' }"], ids=["process", "vm"])
def test_a_failing_on_start_ends_with_1_and_says_where(run_app, each):
    done = run_app(f"\napi.on_start(function() error('no database') end{each})\n", "--port", "0")
    assert done.returncode == 1
    assert done.stderr.startswith("app.lua:2: no database")
    assert "listening" not in done.stdout


def test_a_failing_on_stop_ends_with_1(serve):
    server = serve("api.on_stop(function() error('cannot save') end) function api.get() return 1 end")
    server.expected_code = 1
    assert server.stop() == 1
    assert "app.lua:1: cannot save" in server.log.text


@pytest.mark.parametrize("each", ["", ", { each = 'vm' }"], ids=["process", "vm"])
def test_a_failing_on_stop_does_not_keep_the_others_from_running(serve, each):
    server = serve(f"""
        api.on_stop(function() error("no first") end{each})
        api.on_stop(function() print("the second runs") end{each})
        api.on_stop(function() error("no third") end{each})
        api.on_stop(function() print("the fourth runs") end{each})
        function api.get() return 1 end
    """)
    server.expected_code = 0 if each else 1
    assert server.stop() == server.expected_code
    for seen in ("app.lua:2: no first", "the second runs", "app.lua:4: no third", "the fourth runs"):
        assert seen in server.log.text


def test_wrong_hook_options_are_errors_at_their_line(app_problem):
    assert app_problem("\napi.on_start(print, { each = 'thread' })").startswith("app.lua:2: api.on_start")
    assert app_problem("\napi.on_start('x')").startswith("app.lua:2: api.on_start")
    assert app_problem("\napi.on_stop(print, { eech = 'vm' })").startswith("app.lua:2: api.on_stop")


def test_module_level_state_is_per_vm(serve):
    server = serve("""
        local count = 0
        function api.get() count = count + 1 return count end
    """, "--lane", "light")
    assert [server.get("/").json() for _ in range(4)] == [1, 2, 3, 4]
