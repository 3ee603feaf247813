"""Dictionaries and locks in Redis: several servers that share them, and a Redis that stops, ends or refuses.

That a dictionary in Redis answers as one in memory does is in test_shared.py, whose tests run over both."""

import threading

import pytest

from test_shared import RUN, SHARED, error_of, in_store, run, together

TWO = ("--threads", "2", "--heavy-threads", "2")


@pytest.fixture
def pair(serve, redis, tmp_path):
    """pair(app): two servers with it, and their Redis. LOCK in the app is the store of its locks."""

    def start(app, *options, redis_options=(), url=lambda r: r.unix_url):
        store = redis(*redis_options)
        text = in_store(app, url(store)).replace("LOCK", f'"{url(store)}"')
        paths = [tmp_path / "one.lua", tmp_path / "two.lua"]
        for path in paths:
            path.write_text(text)
        return *(serve(path, *TWO, *options) for path in paths), store

    return start


def test_two_servers_see_each_others_changes(pair):
    one, two, _ = pair(RUN, url=lambda r: r.tcp_url + "/3")
    run(one, "d:set('k', { 1, 2 })")
    assert run(two, "return d:get('k')") == [[1, 2]]
    version = run(two, "return select(2, d:get_versioned('k'))")[0]
    assert run(one, f"return d:cas('k', {version}, 'mine')") == [True]
    assert run(two, f"return d:cas('k', {version}, 'theirs'), d:get('k')") == [False, "mine"]


def test_counters_are_exact_over_servers(pair):
    one, two, _ = pair(SHARED + "function api.get() return d:incr('n') end\nfunction api.n.get() return d:get('n') end")

    def count(i):
        with (one, two)[i % 2].client() as client:
            for _ in range(50):
                assert client.get("/").status == 200

    together(6, count)
    assert one.get("/n").text == two.get("/n").text == "300"


def test_versions_grow_after_the_key_and_the_counter_are_gone(pair):
    one, two, store = pair(RUN)
    look = "return select(2, d:get_versioned('k'))"
    versions = [run(one, "d:set('k', 1) " + look)[0]]
    run(two, "d:delete('k')")
    versions.append(run(one, "d:set('k', 1) " + look)[0])
    run(two, "d:flush()")
    versions.append(run(two, "d:set('k', 1) " + look)[0])
    assert versions == sorted(set(versions)) and versions[-1] < 1 << 53
    store.ask("FLUSHALL")
    # The new counter begins with the time, in seconds: that may be the same as before.
    one.until(lambda: run(one, "d:set('k', 1) " + look)[0] > versions[-1])


LOCKS = SHARED + """
function api.get()
    local lock <close> = assert(shared.lock("l", { ttl = 60, wait = 20, store = LOCK }))
    local inside = d:incr("inside")
    sleep(0.001)
    d:incr("inside", -1)
    return { inside, lock.token }
end
function api.post(ctx)
    local found = table.pack(assert(load("local shared, store = ... " .. ctx:body()))(shared, LOCK))
    for i = 1, found.n do if found[i] == nil then found[i] = json.null end end
    return json.array { table.unpack(found, 1, found.n) }
end
function api.fail.get() local lock <close> = assert(shared.lock("f", { ttl = 600, store = LOCK })) error("broken") end
"""


def test_locks_let_one_in_over_servers_and_their_tokens_grow(pair):
    one, two, _ = pair(LOCKS)
    tokens, lock = [], threading.Lock()

    def enter(i):
        with (one, two)[i % 2].client() as client:
            for _ in range(10):
                inside, token = client.get("/").json()
                assert inside == 1
                with lock:
                    tokens.append(token)

    together(6, enter)
    assert len(set(tokens)) == 60


def test_a_lock_is_held_extended_and_given_back(pair):
    one, two, _ = pair(LOCKS)
    token = run(one, "return shared.lock('l', { ttl = 60, store = store }).token")[0]
    assert run(two, "return shared.lock('l', { store = store })") == [None, "locked"]
    assert run(two, "return shared.lock('l', { wait = 0.01, store = store })") == [None, "locked"]
    mine = f"""local l = shared.lock("x", {{ store = store }}) l:unlock()
        l.name, l.token = "l", """
    assert run(two, mine + f"{token - 1} return l:unlock(), l:extend(9)") == [False, False]
    assert run(one, mine + f"{token} return l:extend(9), l:unlock(), l:unlock()") == [True, True, False]
    assert run(two, "return shared.lock('l', { store = store }).token")[0] > token


def test_a_lock_ends_with_its_time_or_when_its_handler_fails(pair):
    one, two, _ = pair(LOCKS)
    first = run(one, "return shared.lock('l', { ttl = 0.02, store = store }).token")[0]
    second = two.until(lambda: run(two, "local l = shared.lock('l', { store = store }) return l and l.token")[0])
    assert second > first
    assert one.get("/fail").status == 500
    two.until(lambda: run(two, "return shared.lock('f', { ttl = 600, store = store }) ~= nil") == [True])


def test_tokens_grow_over_a_restart_of_redis(pair):
    one, two, store = pair(LOCKS, redis_options=("--appendonly", "yes", "--appendfsync", "always"))
    tokens = [run(server, "return shared.lock('l', { ttl = 0.001, wait = 5, store = store }).token")[0]
              for server in (one, two, one)]
    store.kill()
    store.start()
    for server in (one, two):
        tokens.append(server.until(lambda: run(server, """
            local ok, l = pcall(shared.lock, 'l', { ttl = 0.001, wait = 5, store = store }) return ok and l.token""")[0]))
    assert tokens == sorted(set(tokens))


# --- changes ---

WATCHING = """
local heard = {}
d:on_change(function(key, event, version) heard[#heard + 1] = { key or json.null, event, version } end)
function api.heard.get() return json.array(heard) end
"""


ONE_VM = ("--threads", "1", "--heavy-threads", "1", "--max-heavy", "1", "--lane", "light")


def heard(server):
    return [tuple(change[:2]) for change in server.get("/heard").json()]


def test_changes_are_told_to_all_servers(pair):
    one, two, _ = pair(RUN + WATCHING, *ONE_VM)
    for server in (one, two):  # subscribed, or what comes is not told
        server.until(lambda: run(one, "d:set('first', 1)") == [] and ("first", "set") in heard(server))
    run(one, r"d:set('k y', 1) d:touch('k y', 50) d:incr('n') d:cas('k y', 5, 5) d:delete('k y') d:delete('none')")
    run(two, r"d:set('\xff', 1) d:flush()")
    wanted = [("k y", "set"), ("k y", "touch"), ("n", "set"), ("k y", "delete"), ("\ufffd", "set"), (None, "flush")]
    for server in (one, two):
        server.until(lambda: [event for event in heard(server) if event[0] != "first"][-6:] == wanted)


def test_after_a_connection_was_lost_anything_may_have_changed(pair):
    one, two, store = pair(RUN + WATCHING, *ONE_VM)
    for server in (one, two):
        server.until(lambda: run(one, "d:set('first', 1)") == [] and ("first", "set") in heard(server))
    flushes = [heard(server).count((None, "flush")) for server in (one, two)]
    store.kill()
    store.start()
    for server, before in zip((one, two), flushes):
        server.until(lambda: heard(server).count((None, "flush")) > before)
    server.until(lambda: run(one, "return (pcall(d.set, d, 'again', 1))") == [True])
    two.until(lambda: run(one, "return pcall(d.set, d, 'again', 1)") and ("again", "set") in heard(two))


CACHE = """
local cache = {}
d:on_change(function(key, event) if event == "flush" then cache = {} else cache[key] = nil end end)
local function look(key)
    local value = cache[key]
    while value == nil do
        value = d:get(key) or "none"
        cache[key] = value
    end
    return value
end
function api.look.get() local all = {} for i = 1, 4 do all[i] = look("k" .. i) end return all end
function api.truth.get() local all = {} for i = 1, 4 do all[i] = d:get("k" .. i) or "none" end return all end
function api.storm.get(ctx) for i = 1, 100 do d:set("k" .. i % 4 + 1, i .. ctx:query().who) end end
"""


def test_caches_of_all_servers_end_equal(pair):
    one, two, _ = pair(SHARED + CACHE)
    for server in (one, two):
        server.get("/look")

    def storm(i):
        for n in range(3):
            assert (one, two)[i % 2].get(f"/storm?who={i}.{n}").status == 204

    together(4, storm)
    truth = one.get("/truth").json()
    assert two.get("/truth").json() == truth
    run_all = [server.client() for server in (one, two) for _ in range(6)]
    for client in run_all:
        one.until(lambda: client.get("/look").json() == truth)
        client.close()


# --- a Redis in trouble ---

FAILING = """
local found = table.pack(pcall(function() %s end))
return found[1], type(found[2]) == "table" and found[2].code, tostring(found[2])
"""


def test_what_does_not_answer_is_told_and_no_thread_is_held(pair):
    one, _, store = pair(RUN, url=lambda r: r.unix_url + "?timeout_ms=300")
    run(one, "d:set('k', 1)")
    store.halt()
    clients = [one.client() for _ in range(8)]
    for client in clients:
        body = "return pcall(d.get, d, 'k')"
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body.encode()))
    assert run(one, "return 'alive'") == ["alive"]
    ok, code, text = run(one, FAILING % "d:get('k')")
    assert (ok, code) == (False, "unavailable")
    assert 'dict:get: the dictionary "d": redis+unix:' in text
    for client in clients:
        assert client.read().json()[0] is False
        client.close()
    store.go_on()
    one.until(lambda: run(one, "return pcall(d.get, d, 'k')") == [True, 1])


def test_a_redis_that_ends_and_comes_back(pair):
    one, two, store = pair(RUN, url=lambda r: r.tcp_url + "?timeout_ms=300")
    run(one, "d:set('k', 1)")
    store.kill()
    ok, code, text = run(one, FAILING % "d:set('k', 2)")
    assert (ok, code) == (False, "unavailable") and "127.0.0.1" in text
    ok, code, text = run(two, FAILING % f"shared.lock('l', {{ store = '{store.tcp_url}?timeout_ms=300' }})")
    assert (ok, code) == (False, "unavailable") and text.startswith("shared.lock: redis://127.0.0.1")
    store.start()
    for server in (one, two):
        server.until(lambda: run(server, "return pcall(d.get, d, 'k')") == [True, None])


def test_a_server_starts_without_its_redis(serve, redis):
    store = redis()
    store.kill()
    server = serve(in_store(RUN, store.tcp_url + "?timeout_ms=300"))
    server.log.wait("a store: redis://127.0.0.1.*no connection yet")
    assert run(server, FAILING % "d:get('k')")[1] == "unavailable"
    store.start()
    server.until(lambda: run(server, "return pcall(d.set, d, 'k', 1)")[0] is True)


def test_a_full_redis_is_told(pair):
    one, _, store = pair(RUN, redis_options=("--maxmemory", "1"))
    ok, code, text = run(one, FAILING % "d:set('k', 1)")
    assert (ok, code) == (False, "no_space"), text
    store.ask("CONFIG", "SET", "maxmemory", "0")
    assert run(one, "d:set('k', 1) return d:get('k')") == [1]


def test_what_others_write_is_told(pair):
    one, _, store = pair(RUN)
    store.ask("SET", "poolsrv:dict:{d}:v:k", "x")
    assert run(one, FAILING % "d:get('k')")[1] == "failed"
    store.ask("HSET", "poolsrv:dict:{d}:v:h", "t", "?", "v", "1", "n", "1")
    assert "something else writes to its keys" in run(one, FAILING % "d:get('h')")[2]


def test_a_password_is_sent_and_never_shown(serve, redis, app_problem):
    store = redis("--requirepass", "s3cret")
    app = in_store(RUN, f"redis://:s3cret@127.0.0.1:{store.port}/0")
    server = serve(app)
    assert run(server, "d:set('k', 1) return d:get('k')") == [1]
    store.kill()
    server.log.wait("not connected any more")
    assert "s3cret" not in run(server, FAILING % "d:get('k')")[2] + server.log.text
    store.start()
    wrong = app_problem(app.replace("s3cret", "wr0ng"))
    assert 'shared.dict("d"): store: ' in wrong and "wr0ng" not in wrong


def test_hooks_and_the_loading_wait_with_their_thread(serve, redis):
    store = redis()
    server = serve(in_store(RUN, store.unix_url) + """
        d:incr("loads")
        api.on_start(function() d:set("started", true) end)
        api.on_stop(function() d:set("stopped", true) end)
    """)
    assert run(server, "return d:get('started'), d:get('loads') > 0") == [True, True]
    assert server.stop() == 0
    assert store.ask("HGET", "poolsrv:dict:{d}:v:stopped", "t") == b"$1"


def test_a_forced_stop_does_not_wait_for_redis(serve, redis):
    store = redis()
    server = serve(in_store(RUN, store.unix_url + "?timeout_ms=1000"), "--grace", "0.1")
    run(server, "d:set('k', 1)")
    store.halt()
    with server.client() as client:
        body = "return d:get('k')"
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body.encode()))
        assert run(server, "return 1") == [1]
        server.expected_code = 4
        assert server.stop() in (0, 4)
        server.expected_code = server.process.returncode
    store.go_on()


def test_mistakes_name_the_option_and_show_no_password(app_problem):
    first = 'local shared = require "poolsrv.shared"\n'
    for line, problem in {
        "shared.dict('a', { store = 5 })": 'shared.dict("a"): store = 5: expected a text such as',
        "shared.dict('a', { store = 'sqlite:x' })": 'shared.dict("a"): store: redis://HOST:PORT/DB or redis+unix:PATH',
        "shared.dict('a', { store = 'redis://h/x' })": "the number of a database",
        "shared.dict('a', { store = 'redis://:pw@h?max=5' })": "max: no such parameter",
        "shared.dict('a', { store = 'redis://h', max_bytes = '1m' })": "it is Redis that limits the memory",
        "shared.lock('a', { store = 'nothing' })": 'shared.lock("a"): store: redis://HOST:PORT/DB',
    }.items():
        found = app_problem(first + line)
        assert problem in found and "app.lua:2" in found and "pw" not in found, (line, found)


def test_a_name_is_of_one_store(app_problem, redis):
    store = redis()
    first = f'local shared = require "poolsrv.shared"\nlocal url = "{store.unix_url}"\n'
    for lines, problem in {
        "shared.dict('a')\nshared.dict('a', { store = url })": "app.lua:4: shared.dict(\"a\"): store: it was made",
        "shared.dict('a', { store = url })\nshared.dict('a', { max_bytes = '1m' })": "it was made with a store, at ",
        "shared.dict('a', { store = url })\nshared.dict('a', { store = url .. '?prefix=x' })": "it was made with another",
    }.items():
        assert problem in app_problem(first + lines)


def test_checking_an_app_connects_to_nothing(run_app):
    done = run_app(in_store(RUN, "redis://127.0.0.1:1"), "check")
    assert done.returncode == 0, done.stderr


def test_in_a_callback_that_cannot_wait_it_says_so(pair):
    one, _, _ = pair(RUN)
    assert "dict:get: it cannot wait here" in error_of(one, "('x'):gsub('x', function() d:get('k') end)")
