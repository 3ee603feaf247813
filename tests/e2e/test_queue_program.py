"""poolsrv queue, and the admin address' pages behind it: real servers with queues in memory, in SQLite and in Redis."""

import json
import re
import shutil
import signal
import subprocess
import urllib.parse

import pytest

import poolsrv
from test_admin import metrics, sample

ADMIN = ("--admin", "127.0.0.1:0")
APP = """
    local queue = require "poolsrv.queue"
    local task = require "poolsrv.task"
    queue.consume("mails", { retries = 0, timeout = 0 }, function(message)
        if message.hold then
            print("holding " .. message.hold)
            repeat sleep(0.01) until io.open(message.hold)
        end
        if message.bad then error("no such \\"address\\"\\n\\27[31m", 0) end
    end)
    task.every("1s", function() end, { name = "tick" })
    function api.push.post(ctx)
        local asked = ctx:json()
        return { id = queue.push(asked.queue, asked.value, asked.options) }
    end
"""
JSON = (("Content-Type", "application/json"),)
OURS = (("X-Poolsrv", "1"),)
LIST_HEAD = "QUEUE READY DELAYED TAKEN OLDEST RUNNING DONE RETRIED DEAD".split()


@pytest.fixture(params=["memory", "sqlite"])
def server(request, serve, tmp_path):
    url = "memory:" if request.param == "memory" else f"sqlite:{tmp_path / 'q.db'}"
    return serve(APP, *ADMIN, "--queue", url)


def push(server, queue, value, **options):
    reply = server.post("/push", json.dumps({"queue": queue, "value": value, "options": options}), JSON)
    assert reply.status == 200, reply
    return reply.json()["id"]


def address(server):
    return "%s:%d" % server.admin_address


def ask(server, *words):
    """poolsrv queue ... at that server, which has to succeed. Returns: what it printed."""
    done = poolsrv.run("queue", *words, env={"POOLSRV_ADMIN": address(server)})
    assert (done.returncode, done.stderr) == (0, ""), done
    return done.stdout


def fail(*words, admin="127.0.0.1:1", code=1):
    """Likewise, but it has to fail. Returns: what it said."""
    done = poolsrv.run("queue", *words, env={"POOLSRV_ADMIN": admin})
    assert (done.returncode, done.stdout) == (code, ""), done
    assert done.stderr.startswith("poolsrv: ") and done.stderr.count("\n") == 1, done
    return done.stderr


def listed(server):
    return {one["queue"]: one for one in json.loads(ask(server, "ls", "--json"))}


def post(server, target, headers=OURS):
    with poolsrv.Client(server.admin_address) as client:
        return client.ask("POST", target, headers)


def bury(server, n):
    """Have n messages fail for good. Returns: their ids."""
    ids = [push(server, "mails", {"bad": i}) for i in range(n)]
    server.until(lambda: listed(server).get("mails.dead", {}).get("ready") == n)
    return ids


def test_ls_shows_each_queue_and_its_consumer(server):
    push(server, "other", 1)
    push(server, "other", 2, delay=3600)
    bury(server, 2)
    push(server, "mails", {})
    server.until(lambda: listed(server)["mails"]["consumer"]["done"] == 1)
    head, *rows = [line.split() for line in ask(server, "ls").splitlines()]
    assert head == LIST_HEAD
    rows = {row[0]: dict(zip(head, row)) for row in rows}
    assert set(rows) == {"mails", "mails.dead", "other"}
    assert rows["mails"] == dict(zip(head, "mails 0 0 0 - 0 1 0 2".split()))
    assert (rows["other"]["READY"], rows["other"]["DELAYED"], rows["other"]["DONE"]) == ("1", "1", "-")
    assert re.fullmatch(r"\d+s", rows["mails.dead"]["OLDEST"])
    assert listed(server)["other"]["consumer"] is None


def test_what_a_consumer_holds_is_shown_as_taken(server, tmp_path):
    enough = tmp_path / "enough"
    push(server, "mails", {"hold": str(enough)})
    server.log.wait("holding")
    assert listed(server)["mails"]["taken"] == 1
    assert listed(server)["mails"]["consumer"]["running"] == 1
    (message,) = json.loads(ask(server, "peek", "mails", "--json"))
    assert (message["state"], message["attempts"]) == ("taken", 1)
    assert json.loads(ask(server, "purge", "mails", "--yes", "--json")) == {"count": 0}
    enough.touch()
    server.until(lambda: listed(server)["mails"]["consumer"]["done"] == 1)


def test_peek_shows_messages_and_what_went_wrong(server):
    (dead,) = bury(server, 1)
    value = {"text": 'é "\\\n\x01\x7f\u2028', "list": [1, 2.5, None, {}]}
    push(server, "other", value, id="the:first", priority=7)
    push(server, "other", "later", delay=3600)
    (message,) = json.loads(ask(server, "peek", "mails.dead", "--json"))
    assert message["id"] == dead and message["from"] == "mails" and message["state"] == "ready"
    assert message["attempts"] == 1 and message["body"] == {"bad": 0}
    assert message["error"].startswith('no such "address"\n\x1b[31m')
    first, later = json.loads(ask(server, "peek", "other", "--json"))
    assert first["body"] == value and first["id"] == "the:first" and first["priority"] == 7
    assert first["attempts"] == 0 and not {"from", "error", "progress"} & set(first)
    assert later["state"] == "delayed" and 3500 < later["due_at"] - later["enqueued_at"] <= 3601
    text = ask(server, "peek", "mails.dead")
    assert re.search(rf'^{dead} +ready +1 +0 +\d+s +-  {{"bad":0}}\n    no such "address"$', text, re.M), text
    assert "\x1b" not in text
    assert len(ask(server, "peek", "other", "1").splitlines()) == 2


def test_retry_gives_dead_letters_back(server):
    ids = bury(server, 3)
    assert ask(server, "retry", "mails.dead", ids[1]) == "1 message to be tried again\n"
    server.until(lambda: listed(server)["mails"]["consumer"]["dead"] == 4)
    assert json.loads(ask(server, "retry", "mails.dead", "--json")) == {"count": 3}
    server.until(lambda: listed(server)["mails"]["consumer"]["dead"] == 7)
    assert "no message that could be tried again has the id nobody" in fail("retry", "mails.dead", "nobody",
                                                                            admin=address(server))


def test_purge_wants_to_be_sure(server):
    bury(server, 2)
    assert "--yes is wanted" in fail("purge", "mails.dead", admin=address(server), code=2)
    assert listed(server)["mails.dead"]["ready"] == 2
    assert ask(server, "purge", "mails.dead", "--yes") == "2 messages thrown away\n"
    assert listed(server).get("mails.dead", {"ready": 0})["ready"] == 0


def test_unknown_queue_is_named(server):
    for words in (["peek", "nobody"], ["retry", "nobody"], ["purge", "nobody", "--yes"]):
        assert f"{address(server)}: no queue nobody: nothing is in it" in fail(*words, admin=address(server))
    assert ask(server, "peek", "mails").count("\n") == 1, "it is consumed, so it is known"


def test_the_address_may_be_given_in_several_ways(server):
    for words in (["ls", address(server)], ["ls", f"http://{address(server)}/metrics"],
                  ["--admin", address(server), "ls"], ["peek", "mails", f":{server.admin_address[1]}"],
                  ["peek", "mails", "3", address(server)], ["purge", "mails", "--yes", address(server)],
                  ["retry", "mails", address(server)]):
        done = poolsrv.run("queue", *words)
        assert (done.returncode, done.stderr) == (0, ""), done


def test_what_cannot_be_asked_is_told(server):
    assert re.search(r"127.0.0.1:1: Connection refused; is a server there", fail("ls"))
    app = "%s:%d" % server.address
    assert f"{app}: the reply to GET /queues is 404: is this the address of --admin" in fail("ls", app)
    assert "the reply to POST /queues/mails/retry is 404" in fail("retry", "mails", app)
    assert "which queue?" in fail("peek", code=2)
    assert "an address without a path" in fail("ls", "http://127.0.0.1:1/x", code=2)
    assert "usage: poolsrv queue ls" in poolsrv.run("queue", "--help").stdout
    assert "poolsrv queue" in poolsrv.run("--help").stdout


def test_a_reply_that_is_no_list_is_refused(serve):
    server = serve('function api.queues.get() return "hello" end')
    assert "the reply is not what a poolsrv says" in fail("ls", "%s:%d" % server.address)


def test_no_web_page_can_change_a_queue(server):
    push(server, "other", 1)
    for headers in ((), (("Content-Type", "text/plain"),), (*OURS, ("Origin", "http://example.com"))):
        assert post(server, "/queues/other/purge", headers).status == 403
    assert server.admin("/queues/other/purge").status == 405
    assert post(server, "/queues/other/purge").json() == {"count": 1}


def test_odd_ids_survive_the_way(server):
    name = "a b&c=%d#é"
    assert post(server, "/queues/other/retry?id=" + urllib.parse.quote(name, safe="")).status == 400
    odd = '"\\%2F?&=#+~{}[]<>'
    push(server, "other", {}, id=odd, delay=3600)
    assert ask(server, "retry", "other", odd) == "1 message to be tried again\n"
    assert listed(server)["other"]["ready"] == 1


def test_metrics_of_queues_consumers_and_the_clock(server):
    bury(server, 1)
    push(server, "other", 1, delay=3600)
    push(server, "mails", {})

    def counts():
        samples = metrics(server)
        return (sample(samples, "poolsrv_queue_jobs_total", queue="mails", outcome="done") == 1
                and sample(samples, "poolsrv_clock_runs_total", entry="clock.tick", outcome="run") >= 1 and samples)

    samples = server.until(counts)
    assert sample(samples, "poolsrv_queue_jobs_total", queue="mails", outcome="dead") == 1
    assert sample(samples, "poolsrv_queue_jobs_total", queue="mails", outcome="retried") == 0
    assert sample(samples, "poolsrv_queue_messages", queue="mails.dead", state="ready") == 1
    assert sample(samples, "poolsrv_queue_messages", queue="other", state="delayed") == 1
    assert sample(samples, "poolsrv_queue_oldest_seconds", queue="mails.dead") > 0
    assert sample(samples, "poolsrv_queue_oldest_seconds", queue="other") == 0
    assert sample(samples, "poolsrv_queue_stats_age_seconds") >= 0
    assert sample(samples, "poolsrv_queue_jobs_running", queue="mails") == 0
    assert sample(samples, "poolsrv_jobs_waiting") == 0
    assert sample(samples, "poolsrv_spawned") == 0


# --- an engine that does not answer ---

@pytest.fixture
def redis(tmp_path):
    program = shutil.which("redis-server")
    if not program:
        pytest.skip("there is no redis-server")
    path = tmp_path / "redis.sock"
    process = subprocess.Popen([program, "--port", "0", "--unixsocket", path, "--save", "", "--dir", tmp_path,
                                "--daemonize", "no"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    poolsrv.Output(process.stdout).wait("(?i)ready to accept connections")
    yield process, path
    process.send_signal(signal.SIGCONT)
    process.kill()
    process.wait()


def test_an_engine_that_does_not_answer_holds_up_nobody(serve, redis):
    process, path = redis
    server = serve(APP, *ADMIN, "--queue", f"redis+unix:{path}")
    push(server, "other", 1)
    assert ask(server, "ls").count("\n") == 3
    assert sample(metrics(server), "poolsrv_queue_messages", queue="other", state="ready") == 1
    process.send_signal(signal.SIGSTOP)
    with poolsrv.Client(server.admin_address) as client:
        client.send(poolsrv.message("GET", "/queues"))
        for _ in range(20):
            assert server.admin("/healthz").status == 200
        stale = metrics(server)
        assert sample(stale, "poolsrv_queue_messages", queue="other", state="ready") == 1, "as it was last known"
        older = server.until(lambda: metrics(server))
        assert (sample(older, "poolsrv_queue_stats_age_seconds") > sample(stale, "poolsrv_queue_stats_age_seconds") > 0)
        client.socket.setblocking(False)
        with pytest.raises(BlockingIOError):
            client.socket.recv(1)
        client.socket.settimeout(poolsrv.DEADLINE_S)
        reply = client.read()
        assert reply.status in (503, 504) and reply.json()["status"] == reply.status
    assert re.search(r"not answer|redis", fail("ls", admin=address(server)))
    process.send_signal(signal.SIGCONT)
    server.until(lambda: server.admin("/queues").status == 200)


def test_the_server_ends_while_a_question_is_open(serve, redis):
    process, path = redis
    server = serve(APP, *ADMIN, "--queue", f"redis+unix:{path}", "--grace", "1")
    server.expected_code = None
    push(server, "other", 1)
    process.send_signal(signal.SIGSTOP)
    with poolsrv.Client(server.admin_address) as client:
        client.send(poolsrv.message("GET", "/queues"))
        assert server.admin("/healthz").status == 200
        server.process.terminate()
        assert client.read().status in (503, 504)
    server.expected_code = server.wait()
    assert server.expected_code in (0, 4)


WRONG_JOBS = """\
local queue, task = require "poolsrv.queue", require "poolsrv.task"
local function f() end
queue.consume("a", { retries = -1 }, f)
queue.consume("b", { retrys = 1 }, f)
queue.consume("b/c", f)
queue.consume("c", { backoff = "no" }, f)
queue.consume("d", {}, 7)
queue.consume("e", f)
queue.consume("e", f)
queue.consume("g", { delay = "5x" }, f)
queue.consume("h", { dead_letter = "x/y" }, f)
queue.consume("i", 5, f)
task.every("5x", f)
task.every(0.5, f)
task.every("5m", 7)
task.every("5m", f, { mised = "once" })
task.every("5m", f, { missed = "twice" })
task.every("5m", f, { name = "a b" })
task.every("5m", f, { name = "dup" })
task.every("6m", f, { name = "dup" })
task.at("61 * * * *", f)
task.at("@daily", f, { zone = "Mars/Olympus" })
require("poolsrv.pubsub").subscribe("a b", f)
local ok, why = pcall(queue.consume, "j", { retries = -1 }, f)
assert(not ok and why:find("expected a whole number", 1, true))
"""


def test_check_finds_every_wrong_option_of_jobs_with_its_line(run_app):
    done = run_app(WRONG_JOBS, "check")
    assert done.returncode == 1
    lines = [int(line.split(":")[1]) for line in done.stderr.splitlines()]
    assert lines == [3, 4, 5, 6, 7, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 20, 21, 22, 23], done.stderr
    assert re.search(r"^app.lua:4: queue.consume\(.b.\): retrys: no such option; there are concurrency", done.stderr,
                     re.M)
    assert re.search(r"^app.lua:9: .*the queue has a consumer already, at app.lua:8$", done.stderr, re.M)


@pytest.mark.parametrize("line", [line for line in WRONG_JOBS.splitlines()[2:9] if '"e"' not in line])
def test_a_start_names_the_line_of_a_wrong_option(run_app, line):
    done = run_app("\n".join([*WRONG_JOBS.splitlines()[:2], line]))
    assert done.returncode == 1 and done.stderr.startswith("app.lua:3: queue.consume("), done.stderr


def test_routes_lists_what_runs_beside_requests(run_app):
    done = run_app("""
        local queue, task = require "poolsrv.queue", require "poolsrv.task"
        require("poolsrv.pubsub").subscribe("settings", function() end)
        queue.consume("mails", function() end)
        task.every("5m", function() end)
        task.at("0 3 * * *", function() end, { zone = "Europe/Berlin" })
        function api.users.p_id.get() end
    """, "routes")
    assert done.returncode == 0
    assert [re.split(r"  +", line) for line in done.stdout.splitlines()] == [
        ["GET /users/:id", "app.lua:7"], ["CHANNEL settings", "app.lua:3"], ["QUEUE mails", "app.lua:4"],
        ['CLOCK task.every("5m")', "app.lua:5"], ['CLOCK task.at("0 3 * * *")', "app.lua:6"]]
