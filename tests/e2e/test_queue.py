"""Queues: what is pushed is consumed, as often as it is wanted and no more, whatever happens in between."""

import json
import signal

import pytest

import queues
import poolsrv
from poolsrv import message

url = queues.fixture(queues.KINDS)
durable_url = queues.fixture(queues.DURABLE)

# Two heavy threads: one is kept from jobs.
TWO = ("--heavy-threads", "2")

APP = """
    local queue = require "poolsrv.queue"
    local json = json

    function api.get() return "alive" end
    function api.push.post(ctx)
        local asked = ctx:json()
        local id, duplicate = queue.push(asked.queue, asked.value, asked.options)
        return { id = id, duplicate = duplicate }
    end
    function api.try.post(ctx)
        local asked = ctx:json()
        local id, why, code = queue.try_push(asked.queue, asked.value, asked.options)
        return { id = id, why = why, code = code }
    end
    function api.stats.p_name.get(ctx) return queue.stats(ctx:params().name) end
    function api.peek.p_name.get(ctx) return json.array(queue.peek(ctx:params().name, 100)) end
    function api.retry.p_name.post(ctx) return { n = queue.retry(ctx:params().name) } end
    function api.purge.p_name.post(ctx) return { n = queue.purge(ctx:params().name) } end
"""


def push(server, queue, value, **options):
    reply = server.post("/push", json.dumps({"queue": queue, "value": value, "options": options}),
                        {"Content-Type": "application/json"})
    assert reply.status == 200, (reply, server.log.text)
    return reply.json()


def try_push(server, queue, value, **options):
    return server.post("/try", json.dumps({"queue": queue, "value": value, "options": options}),
                       {"Content-Type": "application/json"}).json()


def stats(server, queue):
    return server.get(f"/stats/{queue}").json()


def peek(server, queue):
    return server.get(f"/peek/{queue}").json()


def dead(server, queue):
    """Wait for a dead letter of the queue. Returns: what there is of it."""
    return server.until(lambda: peek(server, f"{queue}.dead"))[0]


def consumer(body, options="", name="work"):
    return APP + f"""
    queue.consume("{name}", {{ delay = 0.02, {options} }}, function(message, job) {body} end)
"""


def test_what_is_pushed_is_consumed(serve, url):
    server = serve(consumer("print('ran', message.n, job.id, job.attempt, job.enqueued_at > 1e9, job.priority)"),
                   "--queue", url, *TWO)
    made = push(server, "work", {"n": 1}, priority=3)
    ran = server.log.wait(r"ran\t(\d+)\t(\S+)\t(\d+)\t(\S+)\t(\d+)")[0]
    assert ran.groups() == ("1", made["id"], "1", "true", "3")
    server.until(lambda: stats(server, "work")["taken"] == 0)
    assert stats(server, "work")["ready"] == 0


def test_values_come_as_they_were(serve, url):
    values = [0, -1, 1.5, "text \u20ac", "", True, False, None, [], {}, [1, [2, {"a": None}]], {"a": {"b": [1]}}]
    server = serve(consumer("print('ran ' .. json.encode(message))"), "--queue", url, *TWO)
    for value in values:
        push(server, "work", value)
    lines = server.log.wait(r"ran (.*)$", count=len(values))
    assert [json.loads(line[1]) for line in lines] == values


def test_an_id_is_pushed_once_within_its_window(serve, url):
    server = serve(APP, "--queue", url)
    assert push(server, "work", 1, id="one") == {"id": "one", "duplicate": False}
    assert push(server, "work", 2, id="one") == {"id": "one", "duplicate": True}
    assert push(server, "work", 3, id="two") == {"id": "two", "duplicate": False}
    assert [m["body"] for m in peek(server, "work")] == [1, 3]


def test_higher_priorities_come_first(serve, url):
    gate = "if message == 'gate' then while queue.stats('go').ready == 0 do sleep(0.01) end end"
    server = serve(consumer(gate + " print('ran ' .. message)"), "--queue", url, *TWO)
    push(server, "work", "gate")
    server.until(lambda: stats(server, "work")["taken"] == 1)
    for name, priority in (("low", 0), ("high", 9), ("middle", 5), ("low too", 0)):
        push(server, "work", name, priority=priority)
    push(server, "go", 1)
    ran = [m[1] for m in server.log.wait(r"ran (.*)$", count=5)]
    assert ran == ["gate", "high", "middle", "low", "low too"]


def test_a_delayed_message_comes_later(serve, url):
    server = serve(consumer("print('ran ' .. message)"), "--queue", url, *TWO)
    push(server, "work", "later", delay=0.3)
    assert stats(server, "work")["delayed"] == 1
    push(server, "work", "now")
    assert [m[1] for m in server.log.wait(r"ran (.*)$", count=2)] == ["now", "later"]


def test_a_job_that_fails_is_tried_again_and_then_a_dead_letter(serve, url):
    server = serve(consumer("""
        print('try ' .. job.attempt)
        local function inner() error("it went wrong") end
        inner()
    """, "retries = 2"), "--queue", url, *TWO)
    made = push(server, "work", {"a": 1})
    letter = dead(server, "work")
    assert (letter["id"], letter["from"], letter["body"], letter["attempts"]) == (made["id"], "work", {"a": 1}, 3)
    assert "it went wrong" in letter["error"] and "stack traceback:" in letter["error"]
    assert "app.lua:" in letter["error"] and "'inner'" in letter["error"]
    assert [m[1] for m in server.log.wait(r"try (\d)", count=3)] == ["1", "2", "3"]
    assert len(server.log.wait(r"ERROR .*queue work: .*it went wrong", count=3)) == 3
    assert server.post("/retry/work.dead", b"").json() == {"n": 1}
    server.log.wait(r"try (\d)", count=6)


def test_dead_letters_can_be_let_go(serve, url):
    server = serve(consumer("print('tried') error('no')", "retries = 0, dead_letter = false"), "--queue", url, *TWO)
    push(server, "work", 1)
    server.log.wait(r"tried")
    server.until(lambda: stats(server, "work")["taken"] == 0)
    assert stats(server, "work.dead")["ready"] == 0


@pytest.mark.parametrize("does", ("while true do end", "sleep(3600)", "pcall(function() while true do end end) "
                                  "while true do end"))
def test_a_job_that_takes_too_long_is_ended(serve, url, does):
    server = serve(consumer(does, "retries = 0, timeout = 0.2"), "--queue", url, *TWO)
    push(server, "work", 1)
    letter = dead(server, "work")
    assert "timeout" in letter["error"] or "limit" in letter["error"], letter
    server.log.wait(r"queue work: ")
    assert server.get("/").text == "alive"


@pytest.mark.parametrize("does", ("local till = os.clock() + 0.8 while os.clock() < till do end", "sleep(0.8)"))
def test_a_job_that_extends_its_time_is_not_ended(serve, url, does):
    server = serve(consumer(f"job:extend(30) job:progress(7) {does} print('through')", "retries = 0, timeout = 0.3"),
                   "--queue", url, *TWO)
    push(server, "work", 1)
    server.log.wait(r"through")
    server.until(lambda: stats(server, "work")["taken"] == 0)
    assert peek(server, "work.dead") == []


def test_without_a_timeout_extend_sets_none(serve):
    server = serve(consumer("job:extend(0.1) sleep(0.5) print('through')", "retries = 0, timeout = 0"), *TWO)
    push(server, "work", 1)
    server.log.wait(r"through")


def test_progress_can_be_seen(serve, url):
    server = serve(consumer("job:progress(0.5) while queue.stats('go').ready == 0 do sleep(0.01) end"),
                   "--queue", url, *TWO)
    push(server, "work", 1)
    server.until(lambda: [m.get("progress") for m in peek(server, "work")] == [0.5])
    push(server, "go", 1)
    server.until(lambda: stats(server, "work")["taken"] == 0)


def test_a_batch_is_a_list(serve, url):
    server = serve(consumer("""
        if message[1] == 'gate' then while queue.stats('go').ready == 0 do sleep(0.01) end end
        print(#message .. ' ran ' .. table.concat(message, ' ') .. ' ' .. #job .. ' ' .. job[#message].attempt
            .. tostring(job[#message + 1]))
        """, "batch = 3"), "--queue", url, *TWO)
    push(server, "work", "gate")
    server.until(lambda: stats(server, "work")["taken"] == 1)
    for i in range(4):
        push(server, "work", i)
    push(server, "go", 1)
    ran = [m[0] for m in server.log.wait(r"\d ran .*$", count=3)]
    assert ran == ["1 ran gate 1 1nil", "3 ran 0 1 2 3 1nil", "1 ran 3 1 1nil"]


def test_no_more_jobs_at_a_time_than_the_concurrency(serve, url):
    server = serve(consumer("print('began') sleep(0.05) print('ended')", "concurrency = 3"), "--queue", url, *TWO)
    for i in range(12):
        push(server, "work", i)
    server.log.wait(r"ended", count=12)
    now = most = 0
    for line in server.log.lines:
        now += line.endswith("began") - line.endswith("ended")
        most = max(most, now)
    assert most == 3


def test_a_full_queue_refuses_or_makes_wait(serve):
    server = serve(APP, "--queue", "memory:?max=2")
    push(server, "work", 1)
    push(server, "work", 2)
    refused = try_push(server, "work", 3)
    assert (refused["code"], refused.get("id")) == ("full", None)
    assert "work" in refused["why"] and "full" in refused["why"]
    assert server.post("/push", '{"queue":"work","value":3}', {"Content-Type": "application/json"}).status == 500
    server.log.wait(r'queue.push: queue "work" is full')
    with server.client() as client:
        client.send(message("POST", "/push", {"Content-Type": "application/json"},
                            '{"queue":"work","value":4,"options":{"wait":60}}'))
        assert server.get("/").text == "alive"
        assert server.post("/purge/work", b"").json()["n"] == 2
        assert client.read().status == 200
    assert [m["body"] for m in peek(server, "work")] == [4]


def test_push_from_everywhere(serve, url):
    server = serve(consumer("""
        print('ran ' .. message)
        if message == "start" then queue.push("work", "job") end
    """, "concurrency = 4") + """
    local task = require "poolsrv.task"
    api.on_start(function() queue.push("started", "on_start") end)
    function api.all.get()
        assert(pcall(queue.push, "work", "pcall"))
        coroutine.wrap(function() queue.push("work", "coroutine") coroutine.yield() end)()
        task.spawn(function() sleep(0.01) queue.push("work", "spawned") end)
        local co = coroutine.create(function() for i = 1, 2 do coroutine.yield(queue.push("work", "nested")) end end)
        assert(coroutine.resume(co))
        return tostring(select(2, pcall(table.sort, { 2, 1 }, function() queue.push("work", 1) end)))
    end
""", "--queue", url, *TWO)
    assert stats(server, "started")["ready"] > 0
    push(server, "work", "start")
    refused = server.get("/all").text
    assert "app.lua:" in refused and "cannot wait here" in refused and "table.sort" in refused
    ran = sorted(m[1] for m in server.log.wait(r"ran (.*)$", count=6))
    assert ran == ["coroutine", "job", "nested", "pcall", "spawned", "start"]


@pytest.mark.parametrize("context", ("eager", "lazy", "preregistered", "recycled"))
def test_every_kind_of_context_can_push_and_consume(serve, context):
    server = serve(consumer("sleep(0.01) print('ran ' .. message)"), "--context", context, *TWO)
    for i in range(5):
        push(server, "work", i)
    server.log.wait(r"ran \d", count=5)


def test_a_sealed_app_consumes(serve, url):
    server = serve(consumer("queue.push('other', message) print('ran ' .. message)"), "--queue", url, "--sandbox",
                   "strict", *TWO)
    push(server, "work", 1)
    server.log.wait(r"ran 1")
    server.until(lambda: stats(server, "other")["ready"] == 1)


def test_requests_are_answered_while_jobs_compute(serve):
    server = serve(consumer("while true do end", "concurrency = 8, timeout = 3, retries = 0") + """
    function api.slow.get(ctx) return "slow" end
""", "--lane", "heavy", *TWO, "--max-heavy", "2")
    for i in range(8):
        push(server, "work", i)
    server.until(lambda: stats(server, "work")["taken"] == 8)
    for _ in range(20):
        assert server.get("/slow").text == "slow"
    end_by_force(server)


# --- the end ---

CUT_OFF = 4  # the exit code when something was ended before its end


def answers(server):
    try:
        return server.get("/").status == 200
    except (OSError, EOFError):
        return False


def end_by_force(server):
    server.send_signal(signal.SIGTERM)
    server.until(lambda: not answers(server))
    server.send_signal(signal.SIGTERM)
    server.expected_code = server.wait()
    assert server.expected_code == CUT_OFF


def test_jobs_finish_within_the_grace_and_the_rest_is_kept(serve, durable_url):
    app = consumer("print('began') sleep(0.3) print('ended ' .. message)", "concurrency = 2")
    server = serve(app, "--queue", durable_url, *TWO)
    for i in range(6):
        push(server, "work", i)
    server.log.wait(r"began", count=2)
    assert server.stop() == 0
    ended = [m[1] for m in server.log.wait(r"ended (\d)", count=2)]
    again = serve(app, "--queue", durable_url, *TWO)
    ended += [m[1] for m in again.log.wait(r"ended (\d)", count=6 - len(ended))]
    assert sorted(ended) == list("012345")


def test_a_second_stop_gives_back_what_waits(serve, durable_url):
    app = consumer("print('began ' .. job.attempt) if message == 'sleep' then sleep(3600) end print('ended')",
                   "timeout = 0, retries = 0")
    server = serve(app, "--queue", durable_url, *TWO)
    push(server, "work", "sleep")
    server.log.wait(r"began 1")
    end_by_force(server)
    again = serve(app, "--queue", durable_url, *TWO)
    again.log.wait(r"began 1")  # it did not count
    end_by_force(again)


def test_a_try_that_ends_the_process_counts(serve, tmp_path):
    if queues.is_left_out(f"sqlite:{tmp_path}/probe.db", tmp_path):
        pytest.skip("this build has no queues in sqlite")
    url = f"sqlite:{tmp_path}/queues.db"
    app = consumer("print('began ' .. job.attempt) while true do sleep(0.1) end", "retries = 1, lease = 1")
    for attempt in (1, 2):
        server = serve(app, "--queue", url, *TWO)
        if attempt == 1:
            push(server, "work", "deadly")
        server.log.wait(rf"began {attempt}")
        server.kill()
        server.expected_code = -signal.SIGKILL
    server = serve(app, "--queue", url, *TWO)
    letter = dead(server, "work")
    assert letter["body"] == "deadly" and "the process ended" in letter["error"]
    assert "began" not in server.log.text


def test_a_push_that_waits_is_ended_by_a_forced_stop(serve):
    server = serve(APP, "--queue", "memory:?max=1")
    push(server, "work", 1)
    with server.client() as client:
        client.send(message("POST", "/push", {"Content-Type": "application/json"},
                            '{"queue":"work","value":4,"options":{"wait":3600}}'))
        assert server.get("/").status == 200
        server.send_signal(signal.SIGTERM)
        server.until(lambda: not answers(server))
        server.send_signal(signal.SIGTERM)
        assert client.read().status == 503
    server.expected_code = server.wait()
    assert server.expected_code == CUT_OFF


# --- mistakes ---


@pytest.mark.parametrize("call, problem", (
    ('queue.consume("a", { concurrency = 0 }, print)', 'queue.consume("a"): concurrency = 0: expected a whole number'),
    ('queue.consume("a", { retries = 1.5 }, print)', 'retries = 1.5: expected a whole number from 0 to 1000'),
    ('queue.consume("a", { timeout = "x" }, print)', 'timeout = "x": expected seconds'),
    ('queue.consume("a", { backoff = "fast" }, print)', 'backoff = "fast": expected "exponential"'),
    ('queue.consume("a", { concurency = 1 }, print)', "concurency: no such option; there are concurrency"),
    ('queue.consume("a", { dead_letter = "a" }, print)', "the dead letters of a queue go into another one"),
    ('queue.consume("a", { dead_letter = "a b" }, print)', "dead_letter = \"a b\": expected a queue's name"),
    ('queue.consume("a b", print)', "expected a queue's name"),
    ('queue.consume("a", {})', "expected a function that is given the message and the job, not nil"),
    ('queue.consume("a", 1, print)', "options are a table, not number"),
    ("queue.consume(print, print)", "the queue's name is a text, not function"),
    ('queue.consume("a", print) queue.consume("a", print)', "the queue has a consumer already, at app.lua:3"),
    ('queue.push("a", 1)', "queue.push: the queues are open once the app is loaded"),
))
def test_a_mistake_in_the_app_is_told_with_its_line(app_problem, call, problem):
    app = f'-- first\nlocal queue = require "poolsrv.queue"\n{call}\n'
    text = app_problem(app)
    assert "app.lua:3: " in text and problem in text, text


def test_check_names_the_line_of_a_mistake(tmp_path):
    (tmp_path / "app.lua").write_text('local queue = require "poolsrv.queue"\n\n'
                                      'queue.consume("a", { retries = -1 }, print)\n')
    done = poolsrv.run("check", "app.lua", cwd=tmp_path)
    assert done.returncode == 1
    assert "app.lua:3: " in done.stdout + done.stderr and "retries = -1" in done.stdout + done.stderr


@pytest.mark.parametrize("call, problem", (
    ('queue.push("a b", 1)', "expected a queue's name"),
    ('queue.push("a")', "the message is nil; json.null stands for null"),
    ('queue.push("a", { f = print })', "cannot encode a function at .f"),
    ('queue.push("a", 1, { dleay = 1 })', "dleay: no such option; there are delay, id"),
    ('queue.push("a", 1, { delay = -1 })', "delay = -1: expected seconds"),
    ('queue.push("a", 1, { priority = 10 })', "priority = 10: expected a whole number from 0 to 9"),
    ('queue.push("a", 1, { id = "a b" })', "expected a message's id"),
    ('queue.peek("a", 0)', "expected how many messages, 1 to 1024"),
    ('queue.retry("a", "")', "expected a message's id"),
    ('queue.consume("late", print)', "defined while the app loads"),
))
def test_a_mistake_in_a_handler_is_told_with_its_line(serve, call, problem):
    server = serve(f"""
    local queue = require "poolsrv.queue"
    function api.get()
        {call}
    end
    """)
    assert server.get("/").status == 500
    assert "app.lua:4: " in server.log.wait(r"ERROR.*GET /: (.*)$")[0][1]
    assert problem in server.log.text


@pytest.mark.parametrize("option", ("memory:?max=0", "memory:?mxa=3", "nowhere:", "sqlite:/nowhere/at/all.db"))
def test_an_address_that_is_no_good_is_refused(run_app, option):
    done = run_app("function api.get() end", "--queue", option)
    assert done.returncode != 0
    assert "queue" in done.stderr and option.split("?")[0].split(":")[0] in done.stderr


def test_a_stop_ends_what_is_on_hand_where_no_heavy_thread_can_be_added(serve):
    server = serve("""
        local queue = require "poolsrv.queue"
        queue.consume("slow", { concurrency = 8 }, function(n)
            print("begins " .. n)
            local sum = 0
            for i = 1, 3e7 do sum = sum + i end
            print("ends " .. n)
        end)
        function api.post() for n = 1, 8 do queue.push("slow", n) end return "ok" end
    """, "--heavy-threads", "3", "--max-heavy", "3", "--grace", "60")
    assert server.post("/", b"").text == "ok"
    server.log.wait("begins")
    assert server.stop() == 0
    assert server.log.text.count("ends ") + server.log.text.count("lost") >= server.log.text.count("begins ")
