"""poolsrv.shared: dictionaries and locks of all threads, over the real server."""

import re
import sqlite3
import threading

import pytest

import poolsrv

SHARED = 'local shared = require "poolsrv.shared"\nlocal d = shared.dict("d", { max_bytes = "1m" })\n'
THREADS = ("--threads", "4", "--heavy-threads", "3")
RUN = SHARED + """
function api.post(ctx)
    local run = assert(load("local d, shared, ctx = ... " .. ctx:body()))
    local found = table.pack(run(d, shared, ctx))
    for i = 1, found.n do
        if found[i] == nil then found[i] = json.null end
    end
    return json.array { table.unpack(found, 1, found.n) }
end
"""


def run(server, lua):
    """What the Lua code returns, as a list."""
    reply = server.post("/", lua)
    assert reply.status == 200, server.log.text
    return reply.json()


def error_of(server, lua):
    return run(server, f"return select(2, pcall(function() {lua} end))")[0]


def together(n, work):
    """Run work(i) in n threads; the first failure is raised."""
    failures = []

    def guarded(i):
        try:
            work(i)
        except BaseException as why:
            failures.append(why)

    threads = [threading.Thread(target=guarded, args=(i,)) for i in range(n)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


def in_store(app, url):
    """The same app with its dictionary and its locks in Redis."""
    app = app.replace('{ max_bytes = "1m" }', f'{{ store = "{url}" }}')
    return app.replace("{ ttl = 60, wait = 20 }", f'{{ ttl = 60, wait = 20, store = "{url}" }}')


@pytest.fixture(params=["memory", "redis"])
def place(request):
    """place(app): as it is, or with what it shares in Redis."""
    if request.param == "memory":
        return lambda app: app
    server = request.getfixturevalue("redis")()
    return lambda app: in_store(app, server.unix_url)


@pytest.fixture
def server(serve, place):
    return serve(place(RUN), *THREADS)


@pytest.fixture
def local(serve):
    """For what only a dictionary in memory has."""
    return serve(RUN, *THREADS)


# --- values ---

VALUES = [
    "1", "-1.5", "true", "false", "''", "'text'", "json.null", "{ a = { 1, 2, { b = json.null } } }", "{ 1, 2 }",
    "json.array {}", "{}", "json.empty_array", "math.maxinteger", "('x'):rep(100000)",
]


def test_values_come_back_as_they_were_in_every_vm(server):
    for value in VALUES:
        run(server, f"d:set('k', {value})")
        for _ in range(4):
            before, after, kinds = run(server, f"""
                local before, after = {value}, d:get('k')
                return before, after, math.type(before) == math.type(after) and type(before) == type(after)""")
            assert before == after
            assert kinds or value == "json.empty_array"


def test_arrays_keep_their_mark(server):
    assert run(server, "d:set('k', { list = json.array {} }) return json.encode(d:get('k'))") == ['{"list":[]}']


def test_a_value_is_a_copy(server):
    assert run(server, "local t = { 1 } d:set('k', t) t[1] = 2 return d:get('k')")[0] == [1]
    assert run(server, "d:get('k')[1] = 3 return d:get('k')")[0] == [1]


def test_absent_is_nil_with_version_0(server):
    assert run(server, "return d:get_versioned('none')") == [None, 0]
    assert run(server, "d:set('k', 1) d:set('k', nil) return d:get('k')") == [None]
    assert run(server, "local was = d:delete('k') d:set('k', 1) return was, d:delete('k')") == [False, True]


def test_conditions(server):
    assert run(server, "return d:replace('k', 1), d:add('k', 2), d:add('k', 3), d:get('k')") == [
        False, True, False, 2]
    assert run(server, """
        local _, version = d:get_versioned('k')
        local done = d:cas('k', version, 4)
        local _, newer = d:get_versioned('k')
        return done, newer > version, d:cas('k', version, 5), d:get('k'), d:cas('k', newer, nil), d:get('k')
    """) == [True, True, False, 4, True, None]
    assert run(server, "return d:cas('k', 0, 1), d:cas('k', 0, 2), d:get('k')") == [True, False, 1]


def test_counting(server):
    assert run(server, "return d:incr('n'), d:incr('n', 5), d:incr('n', -7), d:incr('n', 0.5)") == [1, 6, -1, -0.5]
    assert run(server, "return d:incr('m', 2, { init = 10 }), d:incr('m', 2, { init = 10 })") == [12, 14]
    assert "dict:incr: by: the sum is beyond" in error_of(server, "d:set('n', math.maxinteger) d:incr('n')")
    assert run(server, "return d:get('n') == math.maxinteger") == [True]
    assert "dict:incr: key: its value is not a number" in error_of(server, "d:set('n', '1') d:incr('n')")


def test_keys(server):
    run(server, "for i = 1, 100 do d:set(i, i) end")
    found = run(server, "return d:keys(), #d:keys(7), d:keys(1000)")
    assert sorted(found[0], key=int) == sorted(found[2], key=int) == [str(i) for i in range(1, 101)]
    assert found[1] == 7
    assert run(server, "return d:stats().entries") == [100]
    assert run(server, "d:flush() return #d:keys(), d:stats().entries") == [0, 0]


def test_stats(local):
    run(local, "for i = 1, 100 do d:set(i, i) end")
    stats = run(local, "d:get('1') d:get('none') return d:stats()")[0]
    assert stats["entries"] == 100 and stats["max_bytes"] == 1 << 20 and 0 < stats["bytes"] < 1 << 20
    assert (stats["hits"], stats["misses"], stats["evictions"]) == (1, 1, 0)
    assert run(local, "d:flush() return d:stats().bytes") == [0]


def test_any_bytes_are_a_key_and_a_value(server):
    assert run(server, r"""
        local all = {}
        for i = 0, 255 do all[#all + 1] = string.char(i) end
        local bytes = table.concat(all)
        d:set(bytes, bytes .. bytes)
        d:set("", "empty")
        return d:get(bytes) == bytes .. bytes, d:get(""), #d:keys(), d:delete(bytes), d:get(bytes)
    """) == [True, "empty", 2, True, None]


def test_numbers_are_exact(server):
    assert run(server, """
        d:set("i", math.mininteger) d:set("f", 0.1) d:set("inf", -math.huge) d:set("tiny", 5e-324)
        d:set("large", 1 << 62)
        return d:get("i") == math.mininteger, d:get("f") == 0.1, d:get("inf") == -math.huge, d:get("tiny") == 5e-324,
            d:incr("large", 3) == (1 << 62) + 3, math.type(d:get("large")), d:incr("f", 0.2) == 0.1 + 0.2,
            d:incr("tiny", 5e-324) == 1e-323
    """) == [True] * 5 + ["integer", True, True]
    assert run(server, "return math.type(d:incr('f2', 1.0)), d:incr('n', -3, { init = 10, ttl = 50 }), d:ttl('n') <= 50"
               ) == ["float", 7, True]
    assert run(server, "return pcall(d.incr, d, 'o', 1, { init = math.maxinteger })")[0] is False
    assert run(server, "return d:get_versioned('o')") == [None, 0]


# --- ends ---

def test_values_end(server):
    run(server, "d:set('a', 1, 0.05) d:set('b', 1, { ttl = 0.05 }) d:set('c', 1, 100) d:set('d', 1)")
    server.until(lambda: run(server, "return d:get('a')") == [None])
    server.until(lambda: run(server, "return d:get('b')") == [None])
    left = run(server, "return d:ttl('c'), d:ttl('d') == math.huge, d:ttl('a')")
    assert 50 < left[0] <= 100 and left[1:] == [True, None]
    assert run(server, "return d:touch('c'), d:ttl('c') == math.huge, d:touch('d', 5), d:ttl('d') < 6, d:touch('a', 1)"
               ) == [True, True, True, True, False]


def test_an_update_keeps_the_end(server):
    assert run(server, """
        d:set('k', 1, 50)
        d:update('k', function(old) return old + 1 end)
        local kept = d:ttl('k')
        d:update('k', function(old) return old + 1 end, { ttl = 500 })
        return d:get('k'), kept <= 50, d:ttl('k') > 400""") == [3, True, True]


# --- all threads ---

def test_counters_are_exact_over_connections_and_lanes(serve, place):
    server = serve(place(SHARED) + """
        function api.get() return d:incr("n") end
        api.heavy_one.get = api.heavy(function() return d:incr("n") end)
        function api.total.get() return d:get("n") end
    """, *THREADS)

    def count(i):
        with server.client() as client:
            for _ in range(200):
                assert client.get("/heavy_one" if i % 2 else "/").status == 200

    together(8, count)
    assert server.get("/total").text == "1600"


UPDATES = """
    function api.get(ctx)
        return d:update("list", function(list)
            list = list or {}
            list[#list + 1] = ctx:query().who
            sleep(0.001)
            return list
        end)
    end
    function api.all.get() return d:get("list") end
"""


def test_updates_that_wait_lose_none(serve, place):
    server = serve(place(SHARED) + UPDATES, *THREADS)

    def update(i):
        with server.client() as client:
            for n in range(10):
                assert client.get(f"/?who={i}.{n}").status == 200

    together(8, update)
    found = server.get("/all").json()
    assert sorted(found) == sorted(f"{i}.{n}" for i in range(8) for n in range(10))


def test_an_update_that_fails_changes_nothing(server):
    assert "here" in error_of(server, "d:set('k', 1) d:update('k', function() error('here') end)")
    assert run(server, "return d:get('k'), d:update('k', function() return nil end), d:get('k')") == [1, None, None]


def test_an_update_gives_up(server):
    why = error_of(server, "d:update('k', function() d:incr('k') return 1 end)")
    assert 'dict:update: key "k" was changed by others 1000 times' in why


def test_a_full_dictionary_drops_the_old(serve):
    server = serve(SHARED + """
        function api.get(ctx)
            for i = 1, 1000 do d:set(ctx:query().who .. i, ("x"):rep(500)) end
            return d:stats()
        end
    """, *THREADS)

    def fill(i):
        for n in range(5):
            stats = server.get(f"/?who={i}.{n}.").json()
            assert stats["bytes"] <= 1 << 20

    together(8, fill)
    stats = server.get("/?who=x").json()
    assert stats["evictions"] > 35000
    assert stats["bytes"] > (1 << 20) - 2000


def test_memory_does_not_grow(serve):
    server = serve(SHARED + """
        function api.get() for i = 1, 500 do d:set("k" .. i % 10, ("x"):rep(i * 20)) end end
    """, *THREADS)

    def rss():
        with open(f"/proc/{server.process.pid}/statm", encoding="ascii") as statm:
            return int(statm.read().split()[1]) * 4096

    def write(_):
        with server.client() as client:
            for _ in range(10):
                assert client.get("/").status == 204

    together(8, write)
    before = rss()
    for _ in range(3):
        together(8, write)
    if not poolsrv.UNDER_SANITIZER:
        assert rss() < before + (16 << 20)


# --- locks ---

LOCKS = SHARED + """
    local inside, most = 0, 0
    function api.get()
        local lock <close> = assert(shared.lock("l", { ttl = 60, wait = 20 }))
        local now = d:incr("inside")
        sleep(0.002)
        d:incr("total")
        d:incr("inside", -1)
        return { now, lock.token }
    end
    function api.total.get() return d:get("total") end
"""


def test_locks_let_one_in_and_their_tokens_grow(serve, place):
    server = serve(place(LOCKS), *THREADS)
    tokens, lock = [], threading.Lock()

    def enter(_):
        with server.client() as client:
            for _ in range(10):
                inside, token = client.get("/").json()
                assert inside == 1
                with lock:
                    tokens.append(token)

    together(8, enter)
    assert server.get("/total").text == "80"
    assert len(set(tokens)) == 80


def test_a_held_lock_is_not_had(local):
    server = local
    first = run(server, "return shared.lock('l', { ttl = 60 }).token")[0]
    assert run(server, "return shared.lock('l')") == [None, "locked"]
    assert run(server, "return shared.lock('l', { wait = 0.02 })") == [None, "locked"]
    assert run(server, "return shared.lock('other') ~= nil") == [True]
    assert isinstance(first, int) and 0 < first < 1 << 53


def test_only_the_holder_releases(local):
    server = local
    first = run(server, "local l = shared.lock('l', { ttl = 0.05 }) return l.token")[0]
    second = server.until(lambda: run(server, "local l = shared.lock('l') return l and l.token")[0])
    assert second > first
    late = f"local l = setmetatable({{ name = 'l', token = {first} }}, getmetatable(shared.lock('x'))) "
    assert run(server, late + "return l:unlock(), l:extend(5)") == [False, False]
    assert run(server, "return shared.lock('l')") == [None, "locked"]
    assert run(server, late.replace(str(first), str(second)).replace("'x'", "'y'") +
               "return l:extend(60), l:unlock(), l:unlock()") == [True, True, False]
    third = run(server, "return shared.lock('l').token")[0]
    assert third > second


def test_a_lock_is_released_when_its_handler_fails(serve):
    server = serve(SHARED + """
        function api.get() local lock <close> = assert(shared.lock("l", { ttl = 600 })) error("broken") end
        function api.free.get() return shared.lock("l") ~= nil end
    """)
    assert server.get("/").status == 500
    assert server.get("/free").json() is True


def test_waiting_for_a_lock_holds_no_thread(serve):
    server = serve(SHARED + """
        function api.get() return shared.lock("l", { wait = 1 }) ~= nil end
        function api.take.get() shared.lock("l", { ttl = 600 }) end
        function api.free.get() d:set("token", nil) return "alive" end
    """, "--threads", "1", "--heavy-threads", "1", "--max-heavy", "1")
    server.get("/take")
    with server.client() as waiting:
        waiting.send(poolsrv.message("GET", "/"))
        for _ in range(20):
            assert server.get("/free").text == "alive"
        assert waiting.read().json() is False


# --- definitions ---

def test_a_reload_keeps_what_is_stored(serve):
    app = SHARED + "function api.get() return d:incr('n') end -- first"
    server = serve(app, "--dev")
    assert [server.get("/").status for _ in range(3)] == [200] * 3
    server.write_app(app.replace("first", "second").replace('"1m"', '"2m"').replace("return d:incr('n')",
                                                              "return { d:incr('n'), d:stats().max_bytes }"))
    server.log.wait("the app was reloaded")
    assert server.get("/").json()[0] == 4
    assert server.get("/").json()[-1] == 2 << 20


def test_mistakes_name_the_place(app_problem):
    first = 'local shared = require "poolsrv.shared"\n'
    for line, problem in {
        "shared.dict()": "shared.dict: name: expected up to 64 letters, digits and ._-, not nil",
        "shared.dict('a b')": 'shared.dict: name: expected up to 64 letters, digits and ._-, not "a b"',
        "shared.dict('a', 5)": 'shared.dict("a"): options: expected a table, not number',
        "shared.dict('a', { max_byte = 5 })": 'shared.dict("a"): max_byte: no such option',
        "shared.dict('a', { max_bytes = '5' })": 'shared.dict("a"): max_bytes = "5": expected bytes',
        "shared.dict('a', { max_bytes = 'big' })": 'shared.dict("a"): max_bytes = "big": expected bytes',
        "shared.dict('a', { max_bytes = 1e6 })": 'shared.dict("a"): max_bytes = 1000000.0: expected bytes',
        "shared.dict('a', { max_bytes = '1m' })\nshared.dict('a', { max_bytes = '2m' })":
            'app.lua:3: shared.dict("a"): max_bytes = 2097152: it was made with 1048576, at ',
    }.items():
        found = app_problem(first + line)
        assert problem in found and "app.lua:" in found, (line, found)


MISTAKES = [
    ("d:get()", "dict:get: key: expected a text or a whole number, not no value"),
    ("d:set({}, 1)", "dict:set: key: expected a text or a whole number, not table"),
    ("d:set(('x'):rep(65537), 1)", "dict:set: key: it has 65537 bytes; at most 65536 are possible"),
    ("d.get('k')", "dict:get: expected a dictionary before the colon, not string"),
    ("d:set('k', print)", "dict:set: value: a function cannot be kept"),
    ("d:set('k', { a = print })", "dict:set: value: json: cannot encode a function at .a"),
    ("d:set('k', 1, 0)", "dict:set: ttl: expected seconds, more than 0 and at most 1e9, not 0"),
    ("d:set('k', 1, { ttl = 'x' })", "dict:set: ttl: expected seconds"),
    ("d:set('k', 1, { time = 1 })", "dict:set: time: no such option"),
    ("d:add('k', nil)", "dict:add: value: expected one, not nil"),
    ("d:cas('k', 'x', 1)", "dict:cas: version: expected the one that get_versioned returned, not x"),
    ("d:incr('k', 'x')", "dict:incr: by: expected a number, not string"),
    ("d:incr('k', 1, { init = 'x' })", "dict:incr: init: expected a number, not string"),
    ("d:keys(0)", "dict:keys: max: expected a whole number from 1 on, not 0"),
    ("d:update({}, print)", "dict:update: key: expected a text or a whole number, not table"),
    ("d:update('k', function() return print end)", "dict:update: value: a function cannot be kept"),
    ("d:update('k', 5)", "dict:update: fn: expected a function, not number"),
    ("shared.dict('new')", 'shared.dict("new"): dictionaries are made while the app loads, not by a handler'),
    ("shared.lock()", "shared.lock: name: expected a text, not nil"),
    ("shared.lock('l', { ttl = 0 })", 'shared.lock("l"): ttl = 0: expected seconds'),
    ("shared.lock('l', { wait = -1 })", 'shared.lock("l"): wait = -1: expected seconds'),
    ("shared.lock('l', { weight = 1 })", 'shared.lock("l"): weight: no such option'),
    ("shared.lock('l2'):extend('x')", 'lock:extend: ttl = "x": expected seconds'),
    ("local m = shared.lock('l3') m.unlock(5)", "lock:unlock: expected a lock before the colon, not number"),
]


def test_mistakes_name_the_method_and_the_argument(server, place):
    for call, problem in MISTAKES:
        assert problem in error_of(server, call)


def test_a_value_must_fit_into_the_dictionary(local):
    assert ("dict:set: value: it is larger than the whole dictionary (max_bytes = 1048576)"
            in error_of(local, "d:set('k', ('x'):rep(1 << 20))"))


def test_metrics_count_by_dictionary(serve):
    server = serve(SHARED + """
        local small = shared.dict("small", { max_bytes = "64k" })
        function api.get()
            for i = 1, 100 do small:set(i, ("x"):rep(10000)) end
            d:set("k", 1, 0.000001) d:set("l", 1) d:get("l") d:get("l") d:get("none")
        end
    """, "--admin", "127.0.0.1:0")
    assert server.get("/").status == 204
    text = server.admin("/metrics").text
    assert re.search(r'^poolsrv_shared_entries{dict="small"} 6$', text, re.M)
    assert re.search(r'^poolsrv_shared_bytes{dict="small"} 6\d{4}$', text, re.M)
    assert re.search(r'^poolsrv_shared_evictions_total{dict="small"} 94$', text, re.M)
    assert re.search(r'^poolsrv_shared_hits_total{dict="d"} 2$', text, re.M)
    assert re.search(r'^poolsrv_shared_misses_total{dict="d"} 1$', text, re.M)
    assert re.search(r'^# TYPE poolsrv_shared_expirations_total counter$', text, re.M)


# --- strict mode ---

def test_strict_mode_has_it_too(serve, place):
    server = serve(place(SHARED + UPDATES + """
        function api.n.get() d:incr("n", 1, { ttl = 60 }) return d:get("n") end
        function api.lock.get()
            local lock <close> = assert(shared.lock("l", { ttl = 60, wait = 20 }))
            return lock:extend(5)
        end
        function api.change.get() shared.dict = nil end
        function api.method.get() getmetatable(d).__index.get = nil end
        function api.problem.get() return select(2, pcall(d.get, d, {})) end
    """), "--sandbox", "strict", *THREADS)
    together(4, lambda i: [server.get("/n") for _ in range(25)])
    assert server.get("/n").text == "101"
    together(4, lambda i: server.get(f"/?who={i}"))
    assert sorted(server.get("/all").json()) == ["0", "1", "2", "3"]
    assert [server.get("/lock").json() for _ in range(5)] == [True] * 5
    assert server.get("/change").status == 500
    server.log.wait("read-only with --sandbox strict")
    assert server.get("/method").status == 500
    assert server.get("/n").status == 200
    assert "dict:get: key" in server.get("/problem").text


def test_it_lives_through_a_stop_under_load(serve, place):
    server = serve(place(SHARED + "function api.get() for i = 1, 100 do d:incr(i) end end"), *THREADS)
    stop, asked = threading.Event(), [0]

    def ask():
        while not stop.is_set():
            try:
                server.get("/")
                asked[0] += 1
            except (OSError, EOFError):
                return

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    server.until(lambda: asked[0] > 200)
    assert server.stop() == 0
    stop.set()
    for thread in threads:
        thread.join()


# --- kept in a file ---

KEPT = """
    local shared = require "poolsrv.shared"
    local d = shared.dict("d", { max_bytes = "1m", persist = "sqlite:PATH" })
    function api.get(ctx) return d:get(ctx:query().key) end
    function api.ttl.get(ctx) return d:ttl(ctx:query().key) end
    function api.post(ctx) d:set(ctx:query().key, json.decode(ctx:body()), { ttl = tonumber(ctx:query().ttl) }) end
    function api.delete(ctx) return d:delete(ctx:query().key) end
    function api.n.post() return d:incr("n") end
"""


def rows(path):
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as db:
        return {key.decode(): value for key, value in db.execute("SELECT key, value FROM poolsrv_shared")}


def test_what_is_kept_outlives_a_restart(serve, tmp_path):
    app = KEPT.replace("PATH", str(tmp_path / "shared.db"))
    server = serve(app, *THREADS)
    together(4, lambda i: [server.post("/n", "") for _ in range(50)])
    server.post("/?key=t", '{"a": [1, 2, {"b": null}], "c": []}')
    server.post("/?key=gone", "1")
    server.post("/?key=ends&ttl=1000", "1")
    server.ask("DELETE", "/?key=gone")
    assert server.stop() == 0
    server = serve(app, *THREADS)
    assert server.get("/?key=n").text == "200"
    assert server.get("/?key=t").json() == {"a": [1, 2, {"b": None}], "c": []}
    assert server.get("/?key=gone").status == 204
    assert 900 < float(server.get("/ttl?key=ends").text) <= 1001
    assert server.post("/n", "").text == "201"


def test_a_crash_takes_only_what_was_not_written_yet(serve, tmp_path):
    path = tmp_path / "shared.db"
    app = KEPT.replace("PATH", str(path))
    server = serve(app, *THREADS)
    for i in range(1, 51):
        server.post("/n", "")
    server.until(lambda: rows(path).get("n") == 50)
    server.expected_code = -9
    server.kill()
    server = serve(app, *THREADS)
    assert server.get("/?key=n").text == "50"


def test_a_file_that_cannot_be_written_is_told_of_and_tried_again(serve, tmp_path):
    path = tmp_path / "shared.db"
    server = serve(KEPT.replace("PATH", str(path)), *THREADS)
    with sqlite3.connect(path, isolation_level=None) as db:
        db.execute("ALTER TABLE poolsrv_shared RENAME TO away")
        server.post("/n", "")
        server.log.wait('shared.dict."d".: cannot be written, and is tried again every second: sqlite:')
        assert server.post("/n", "").text == "2"
        db.execute("ALTER TABLE away RENAME TO poolsrv_shared")
    server.log.wait('shared.dict."d".: is written again')
    assert rows(path)["n"] == 2


def test_mistakes_of_what_is_kept(app_problem, tmp_path):
    first = 'local shared = require "poolsrv.shared"\n'
    for line, problem in {
        "shared.dict('a', { persist = 5 })": 'shared.dict("a"): persist = 5: expected a text such as "sqlite:shared.db"',
        "shared.dict('a', { persist = 'x' })": 'shared.dict("a"): persist = "x": expected "sqlite:PATH", not "x"',
        "shared.dict('a', { persist = 'sqlite:/nowhere/x.db' })": "unable to open database file",
        f"shared.dict('a')\nshared.dict('a', {{ persist = 'sqlite:{tmp_path}/x.db' }})": "it was made with nil, at ",
    }.items():
        found = app_problem(first + line)
        assert problem in found and "app.lua:" in found, (line, found)


def test_check_changes_nothing_in_the_file(serve, tmp_path):
    path = tmp_path / "shared.db"
    app = KEPT.replace("PATH", str(path))
    server = serve(app, *THREADS)
    server.post("/?key=large", '"' + "x" * 100000 + '"')
    server.post("/n", "")
    assert server.stop() == 0
    small = tmp_path / "small.lua"
    small.write_text(app.replace('"1m"', '"64k"'))
    assert poolsrv.run("check", small).returncode == 0
    assert set(rows(path)) == {"large", "n"}
