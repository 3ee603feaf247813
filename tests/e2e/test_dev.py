"""--dev: the app is reloaded when one of its files changes."""

import os
import time

import poolsrv

RELOADED = "the app was reloaded"
REFUSED = "not reloaded, the app from before goes on"


def app(text):
    return f"function api.get() return '{text}' end\n"


def change(server, path, text, seen):
    """Replace a file and wait until seen() is true.

    A watcher knows a file from the first time it has looked, which may come after our change; so the file is
    touched again now and then."""
    poolsrv.replace(path, text)
    touched = time.monotonic()

    def look():
        nonlocal touched
        if seen():
            return True
        if time.monotonic() - touched > 1:
            os.utime(path)
            touched = time.monotonic()
        return False

    server.until(look)


def answers(server, text):
    return lambda: server.get("/").text == text


def test_a_changed_app_is_reloaded(serve):
    server = serve(app("one"), "--dev")
    assert server.get("/").text == "one"
    for text in ("two", "three"):
        change(server, server.app, app(text), answers(server, text))
    assert RELOADED in server.log.text


def test_routes_come_and_go_with_a_reload(serve):
    server = serve(app("old") + "function api.old.get() return 1 end\n", "--dev")
    assert (server.get("/old").status, server.get("/new").status) == (200, 404)
    change(server, server.app, "function api.new.get() return 2 end\n", lambda: server.get("/new").status == 200)
    assert server.get("/old").status == 404
    assert server.get("/").status == 404


def test_a_broken_edit_is_logged_and_the_last_good_app_goes_on(serve):
    server = serve(app("good"), "--dev")
    change(server, server.app, "function api.get( return", lambda: REFUSED in server.log.text)
    server.log.wait(r"not reloaded.*app\.lua:1: ")
    assert server.get("/").text == "good"
    change(server, server.app, app("mended"), answers(server, "mended"))


def test_an_edit_that_fails_while_loading_keeps_the_last_good_app(serve):
    server = serve(app("good"), "--dev")
    change(server, server.app, app("new") + "\nerror('half way')\n", lambda: REFUSED in server.log.text)
    server.log.wait(r"not reloaded.*app\.lua:3: half way")
    assert server.get("/").text == "good"


def test_an_edit_whose_tree_is_wrong_keeps_the_last_good_app(serve):
    server = serve(app("good"), "--dev")
    change(server, server.app, app("new") + "function api.x.gte() end\n", lambda: REFUSED in server.log.text)
    assert server.get("/").text == "good"
    assert server.get("/x").status == 404


def test_a_change_of_a_required_module_reloads_too(serve, tmp_path):
    server = serve("local words = require 'lib.words' function api.get() return words end", "--dev",
                   files={"lib/words.lua": "return 'first'"})
    assert server.get("/").text == "first"
    change(server, tmp_path / "lib/words.lua", "return 'second'", answers(server, "second"))
    change(server, tmp_path / "lib/words.lua", "return (", lambda: REFUSED in server.log.text)
    assert server.get("/").text == "second"


def test_a_module_that_a_reload_brought_is_watched_as_well(serve, tmp_path):
    server = serve(app("alone"), "--dev", files={"later.lua": "return 'module'"})
    change(server, server.app, "local later = require 'later' function api.get() return later end",
           answers(server, "module"))
    change(server, tmp_path / "later.lua", "return 'changed'", answers(server, "changed"))


def refused(server, times):
    return lambda: server.log.text.count(REFUSED) >= times


def test_a_new_module_that_fails_is_loaded_once_it_is_mended(serve):
    server = serve(app("plain"), "--dev", files={"new.lua": "return = 1"})
    change(server, server.app, "local text = require 'new' function api.get() return text end\n", refused(server, 1))
    assert server.get("/").text == "plain"
    change(server, server.app.with_name("new.lua"), "return 'mended'", answers(server, "mended"))


def test_a_missing_module_is_loaded_once_it_is_there(serve):
    server = serve(app("plain"), "--dev")
    change(server, server.app, "local text = require 'later' function api.get() return text end\n", refused(server, 1))
    assert server.get("/").text == "plain"
    change(server, server.app.with_name("later.lua"), "return 'there'", answers(server, "there"))
    assert server.log.text.count(REFUSED) == 1


def test_a_module_that_only_a_handler_requires_is_watched(serve):
    server = serve("function api.get() return (require 'lazy') end\n", "--dev", files={"lazy.lua": "return 'one'"})
    assert server.get("/").text == "one"
    change(server, server.app.with_name("lazy.lua"), "return 'two'", answers(server, "two"))


def test_an_app_that_vanishes_goes_on_and_is_taken_when_it_returns(serve):
    server = serve(app("here"), "--dev")
    change(server, server.app, app("seen"), answers(server, "seen"))
    server.app.unlink()
    server.log.wait(REFUSED)
    assert server.get("/").text == "seen"
    change(server, server.app, app("back"), answers(server, "back"))


def test_requests_that_wait_during_a_reload_are_answered_by_the_app_they_began_in(serve):
    slow = "function api.slow.get() print('slow began') sleep(0.6) return '{}' end\n"
    server = serve(app("one") + slow.format("one"), "--dev", "--threads", "2")
    with server.client() as client:
        client.send(poolsrv.message("GET", "/slow"))
        server.log.wait("slow began")
        poolsrv.replace(server.app, app("two") + slow.format("two"))
        assert client.read().text == "one"
    change(server, server.app, app("two") + slow.format("two"), answers(server, "two"))


def test_a_reload_under_load_loses_no_request(serve):
    server = serve(app("0"), "--dev", "--no-access-log", "--threads", "2")
    wrong = []
    with server.client() as client:
        for n in range(1, 4):
            def seen():
                replies = [client.get("/") for _ in range(20)]
                wrong.extend(r for r in replies if r.status != 200)
                return replies[-1].text == str(n)
            change(server, server.app, app(n), seen)
    assert wrong == []


def test_a_reload_starts_and_stops_each_vm_but_not_the_process(serve):
    hooks = """
        api.on_start(function() print("process started") end)
        api.on_start(function() print("vm started") end, { each = "vm" })
        api.on_stop(function() print("vm stopped") end, { each = "vm" })
    """
    server = serve(hooks + app("one"), "--dev")
    change(server, server.app, hooks + app("two"), answers(server, "two"))
    assert server.stop() == 0
    assert server.log.text.count("process started") == 1
    started = server.log.text.count("vm started")
    assert started >= 4
    assert server.log.text.count("vm stopped") == started


def test_without_dev_nothing_is_reloaded(serve):
    server = serve(app("one"))
    poolsrv.replace(server.app, app("two"))
    for _ in range(50):
        assert server.get("/").text == "one"
    assert RELOADED not in server.log.text


def worker(name, queue_names):
    consumers = "".join(
        f'queue.consume("{queue}", function(m) print("{name} has", m, "of {queue}") end)\n' for queue in queue_names)
    return f"""
        local queue, task = require "poolsrv.queue", require "poolsrv.task"
        {consumers}
        task.every(1, function() print("{name} ticks") end)
        function api.get() return "{name}" end
        function api.push.post(ctx) return {{ queue.push(ctx:query().to, tonumber(ctx:query().n)) }} end
    """


def test_consumers_and_the_clock_come_and_go_with_a_reload(serve):
    server = serve(worker("one", ["a", "gone"]), "--dev", "--admin", "127.0.0.1:0")
    server.post("/push?to=a&n=1", b"")
    server.log.wait("one has\t1\tof a")
    server.log.wait("one ticks")
    change(server, server.app, worker("two", ["a", "b"]), answers(server, "two"))
    for to, n in (("a", 2), ("b", 3), ("gone", 4)):
        server.post(f"/push?to={to}&n={n}", b"")
    server.log.wait("two has\t2\tof a")
    server.log.wait("two has\t3\tof b")
    server.log.wait("two ticks")
    ticks = server.log.text.count("two ticks")
    old = server.log.text.count("one ticks")
    server.until(lambda: server.log.text.count("two ticks") > ticks + 1)
    assert server.log.text.count("one ticks") == old
    assert "has\t4" not in server.log.text
    assert "poolsrv_queue_jobs_running{queue=\"b\"}" in server.admin("/metrics").text
    assert server.stop() == 0
