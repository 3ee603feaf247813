"""dict:on_change: what changes in shared dictionaries is told to all VMs, over the real server."""

import itertools
import threading

import poolsrv
from test_dev import change
from test_shared import SHARED, THREADS, run, together

WATCHING = SHARED + """
local heard = {}
d:on_change(function(key, event, version) heard[#heard + 1] = { key or json.null, event, version } end)
"""

RUN = WATCHING + """
function api.post(ctx)
    local fn = assert(load("local d, shared, heard = ... " .. ctx:body()))
    local found = table.pack(fn(d, shared, heard))
    for i = 1, found.n do if found[i] == nil then found[i] = json.null end end
    return json.array { table.unpack(found, 1, found.n) }
end
"""

ONE_VM = ("--threads", "1", "--heavy-threads", "1", "--max-heavy", "1", "--lane", "light")


def events(server):
    return [(key, event) for key, event, _ in run(server, "return heard")[0]]


def heard(server, *wanted):
    """Wait until these events came, in this order, with others between them."""

    def look():
        came = iter(events(server))
        return all(event in came for event in wanted)

    server.until(look)


def test_every_kind_of_change_is_told(serve):
    server = serve(RUN, *ONE_VM)
    run(server, "d:set('k', 1) d:touch('k', 50) d:delete('k') d:set('short', 1, 0.001)")
    heard(server, ("k", "set"), ("k", "touch"), ("k", "delete"), ("short", "set"))
    server.until(lambda: run(server, "d:set('other', 1) return d:get('short')") == [None])
    sets = itertools.count()  # each takes out what has ended in the part that its key is in
    server.until(lambda: run(server, f"d:set({next(sets)}, 1)") == [] and ("short", "expire") in events(server))
    run(server, "d:flush()")
    heard(server, ("short", "set"), (None, "flush"))


def test_a_change_has_the_version_that_is_read(serve):
    server = serve(RUN, *ONE_VM)
    version = run(server, "d:set('k', 1) return select(2, d:get_versioned('k'))")[0]
    server.until(lambda: ["k", "set", version] in run(server, "return heard")[0])


def test_a_full_dictionary_tells_what_it_drops(serve):
    server = serve(WATCHING + """
        function api.get()
            for i = 1, 40 do d:set(i, ("x"):rep(60000)) end
        end
        function api.heard.get()
            for _, change in ipairs(heard) do if change[2] == "evict" then return true end end
            return false
        end
    """, *ONE_VM)
    assert server.get("/").status == 204
    server.until(lambda: server.get("/heard").json())


def test_keys_are_any_bytes_and_told_as_text(serve):
    server = serve(RUN, *ONE_VM)
    run(server, r"""d:set('"\\\n\0\1\u{e4}', 1) d:set("\xff\xfe", 1) d:set("", 1)""")
    heard(server, ('"\\\n\0\x01ä', "set"), ("\ufffd\ufffd", "set"), ("", "set"))


CACHE = SHARED + """
local cache, told = {}, 0
d:on_change(function(key, event)
    told = told + 1
    if event == "flush" then cache = {} else cache[key] = nil end
end)
local function look(key)
    if cache[key] == nil then
        local value, version = d:get_versioned(key)
        cache[key] = version ~= 0 and value or "none"
    end
    return cache[key]
end
function api.get(ctx)
    local query = ctx:query()
    if query.set then d:set(query.set, query.to) elseif query.del then d:delete(query.del) end
    local all = {}
    for i = 1, 8 do all[i] = look("k" .. i) end
    return { all = all, told = told }
end
function api.storm.get(ctx)
    for i = 1, 2000 do
        local key = "k" .. i % 8 + 1
        if i % 5 == 0 then d:delete(key) else d:set(key, i .. ctx:query().who) end
        look(key)
    end
end
api.heavy_storm.get = api.heavy(function(ctx)
    for i = 1, 2000 do d:set("k" .. i % 8 + 1, i .. ctx:query().who) look("k" .. i % 8 + 1) end
end)
api.heavy_look.get = api.heavy(function() 
    local all = {}
    for i = 1, 8 do all[i] = look("k" .. i) end
    return { all = all }
end)
function api.truth.get()
    local all = {}
    for i = 1, 8 do
        local value, version = d:get_versioned("k" .. i)
        all[i] = version ~= 0 and value or "none"
    end
    return all
end
"""


def test_caches_in_all_vms_end_equal_after_a_storm(serve):
    server = serve(CACHE, "--threads", "3", "--heavy-threads", "2")

    def storm(i):
        with server.client() as client:
            for _ in range(5):
                assert client.get(("/storm?who=" if i % 2 else "/heavy_storm?who=") + str(i)).status == 204

    together(6, storm)
    truth = server.get("/truth").json()
    clients = [server.client() for _ in range(24)]  # the kernel spreads them over the threads
    try:
        for path in ("/", "/heavy_look"):
            for client in clients:
                server.until(lambda: client.get(path).json()["all"] == truth)
        server.get("/?set=k3&to=last")
        for client in clients:
            server.until(lambda: client.get("/").json()["all"][2] == "last")
    finally:
        for client in clients:
            client.close()


def test_a_storm_does_not_pile_up_in_a_thread_that_computes(serve):
    server = serve(WATCHING + """
        function api.get()
            local flushes = 0
            for _, change in ipairs(heard) do flushes = flushes + (change[2] == "flush" and 1 or 0) end
            return { #heard, flushes, #heard > 0 and heard[#heard][2] }
        end
        function api.storm.get() for i = 1, 5000 do d:set(i % 100, i) end end
    """, *ONE_VM)
    before = server.until(lambda: (now := server.get("/").json())[1] > 0 and now)
    assert server.get("/storm").status == 204
    # It has run what it had, 64 at most, and then one that stands for the other 4,936.
    after = server.until(lambda: (now := server.get("/").json())[1] > before[1] and now)
    assert after[0] - before[0] == 65
    assert after[1:3] == [before[1] + 1, "flush"]
    server.get("/storm")


def test_a_thread_that_computes_holds_up_nobody_else(serve):
    server = serve(SHARED + """
        local n = shared.dict("n")
        d:on_change(function(key, event) if key == "x" or event == "flush" then n:incr(event) end end)
        api.busy.get = api.heavy(function()
            n:set("busy", true)
            while not n:get("go on") do end
        end)
        function api.get(ctx) return n:get(ctx:query().key) or 0 end
        function api.set.get() for i = 1, 50 do d:set("x", i) end end
        function api.free.get() n:set("go on", true) end
    """, "--threads", "1", "--heavy-threads", "2", "--max-heavy", "2")
    server.until(lambda: server.get("/?key=flush").text == "3")
    with server.client() as busy:
        busy.send(poolsrv.message("GET", "/busy"))
        server.until(lambda: server.get("/?key=busy").json() is True)
        server.get("/set")
        server.until(lambda: server.get("/?key=set").text == "100")
        server.get("/free")
        assert busy.read().status == 204
    server.until(lambda: server.get("/?key=set").text == "150")


def test_a_vm_that_begins_to_serve_is_told_to_look_again(serve):
    server = serve(CACHE.replace("local function look", 'd:set("k1", "while loading")\nlocal function look')
                   + 'look("k1")\n', "--threads", "3", "--heavy-threads", "2")
    server.get("/?set=k1&to=now")
    clients = [server.client() for _ in range(24)]
    for client in clients:
        server.until(lambda: client.get("/").json()["all"][0] == "now")
        client.close()


def test_several_listeners_are_called_and_one_that_fails_is_told(serve):
    server = serve(SHARED + """
        local n = 0
        d:on_change(function() n = n + 1 end)
        d:on_change(function() n = n + 10 end)
        d:on_change(function(key) if key == "bad" then error("no good") end end)
        function api.get() return n end
        function api.set.get(ctx) local before = n d:set(ctx:query().key, 1) end
    """, *ONE_VM)
    before = int(server.get("/").text)
    server.get("/set?key=good")
    server.until(lambda: int(server.get("/").text) > before)
    assert int(server.get("/").text) % 11 == 0
    server.get("/set?key=bad")
    server.log.wait("no good")


def test_a_listener_may_change_the_dictionary_and_wait(serve):
    server = serve(SHARED + """
        d:on_change(function(key, event)
            if event == "flush" then d:incr("told") end
            if key == "first" then sleep(0.001) d:incr("second") end
        end)
        function api.told.get() return d:get("told") or 0 end
        function api.set.get() d:set("first", 1) end
        function api.get() return d:get("second") or 0 end
    """, "--threads", "2", "--heavy-threads", "1", "--max-heavy", "1")
    server.until(lambda: int(server.get("/told").text) == 3)
    server.get("/set")
    server.until(lambda: int(server.get("/").text) == 3)


def test_a_reload_brings_listeners_and_leaves_them(serve):
    plain = SHARED + """
        function api.get() return "plain" end
        function api.set.get() d:incr("n") end
    """
    server = serve(plain, "--dev", *ONE_VM)
    assert server.get("/").text == "plain"
    listening = plain + """
        local n = 0
        d:on_change(function(key) if key == "n" then n = n + 1 end end)
        function api.get() return "heard " .. n end
    """.replace("function api.get()", "function api.heard.get()")
    change(server, server.app, listening, lambda: server.get("/heard").status == 200)
    server.get("/set")
    server.until(lambda: server.get("/heard").text == "heard 1")
    change(server, server.app, plain.replace('"plain"', '"again"'), lambda: server.get("/").text == "again")
    server.get("/set")
    assert server.get("/heard").status == 404
    change(server, server.app, listening.replace('"heard "', '"heard again "'), lambda: server.get("/heard").status == 200)
    server.get("/set")
    server.until(lambda: server.get("/heard").text == "heard again 1")


def test_changes_of_hooks_and_at_the_end_do_no_harm(serve):
    server = serve(WATCHING + """
        api.on_start(function() d:set("begin", 1) end)
        api.on_stop(function() for i = 1, 100 do d:set("end", i) end end)
        function api.get() for i = 1, 100 do d:incr("n") end end
    """, *THREADS)
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
    server.until(lambda: asked[0] > 20)
    assert server.stop() == 0
    stop.set()
    for thread in threads:
        thread.join()


def test_mistakes_name_the_place(app_problem, serve):
    for line, problem in {
        "d:on_change()": "dict:on_change: expected a function, not nil",
        "d:on_change('x')": "dict:on_change: expected a function, not string",
        "d.on_change('x', print)": "dict:on_change: expected a dictionary before the colon, not string",
    }.items():
        found = app_problem(SHARED + line)
        assert problem in found and "app.lua:3" in found, found
    server = serve(SHARED + "function api.get() d:on_change(function() end) end")
    assert server.get("/").status == 500
    server.log.wait("are defined while the app loads, not by a handler")


def test_strict_mode_has_it_too(serve):
    server = serve(SHARED + """
        d:on_change(function(key, event) if key == "k" then d:incr("heard " .. event) end end)
        function api.get() d:set("k", 1) return d:get("heard set") or 0 end
    """, "--sandbox", "strict", *ONE_VM)
    server.until(lambda: int(server.get("/").text) > 0)
