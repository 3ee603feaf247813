"""What editors and linters are told of an app's globals is what there is."""

import re
import shutil
import subprocess

import pytest

from poolsrv import ROOT

META = ROOT / "api/meta"
STUBS = (META / "poolsrv.lua").read_text()
MANUAL = (ROOT / "docs/LUA_API.md").read_text()

# Says of each name what its value is.
APP = """
    local during = {}
    for name in ("NAMES"):gmatch("%S+") do
        during[name] = getmetatable(api[name]).__call ~= nil
    end
    function api.get(ctx)
        local found, reply, options = {}, api.json {}, {}
        for name in (ctx:query().context):gmatch("%S+") do found["ctx." .. name] = type(ctx[name]) end
        for name in (ctx:query().reply):gmatch("%S+") do found["reply." .. name] = type(reply[name]) end
        for name in (ctx:query().json):gmatch("%S+") do found["json." .. name] = type(json[name]) end
        for name in (ctx:query().api):gmatch("%S+") do found["api." .. name] = type(api[name]) end
        for name, callable in pairs(during) do assert(callable, name) end
        return found
    end
"""


def methods_of(table):
    return re.findall(rf"^function {table}[:.](\w+)\(", STUBS, re.M)


def fields_of(name):
    block = STUBS[STUBS.index(f"---@class {name}\n" if name != "poolsrv.api" else "---@class poolsrv.api: "):]
    return re.findall(r"^---@field (\w+)\b", block[:block.index("= {}")], re.M)


def test_the_stubs_name_what_an_app_finds(serve):
    helpers = fields_of("poolsrv.api")
    server = serve(APP.replace("NAMES", " ".join(helpers)))
    context = methods_of("context") + ["method", "path", "target", "ip", "id", "scheme", "host"]
    query = {"context": context, "reply": methods_of("reply"), "api": helpers,
             "json": methods_of("json") + fields_of("poolsrv.json")}
    found = server.get("/?" + "&".join(f"{key}={'+'.join(names)}" for key, names in query.items())).json()
    assert {name for name, kind in found.items() if kind == "nil"} == set()
    assert all(found[f"ctx.{name}"] == "function" for name in methods_of("context"))
    assert len(found) == sum(map(len, query.values()))


@pytest.mark.parametrize("pattern, stub", [
    (r"`ctx:(\w+)\(", r"^function context:{}\("), (r"`reply:(\w+)\(", r"^function reply:{}\("),
    (r"`api\.(\w+)\(", r"^---@field {} poolsrv\.api\."), (r"`json\.(\w+)`", r"^---@field {} |^function json\.{}\("),
    (r"`ctx\.(\w+)` \|", r"^---@field {} "),
])
def test_the_stubs_name_all_that_the_manual_tells_of(pattern, stub):
    names = set(re.findall(pattern, MANUAL)) - {"jsn"}
    assert len(names) >= 3
    for name in names:
        assert re.search(stub.replace("{}", name), STUBS, re.M), name


def test_luacheck_knows_an_app_and_finds_its_slips(tmp_path):
    luacheck = shutil.which("luacheck")
    if not luacheck:
        pytest.skip("there is no luacheck")
    slip = tmp_path / "slip.lua"
    slip.write_text("function api.get() slep(1) return json.encod {} end\n")

    def check(*paths):
        command = [luacheck, "--no-color", "--no-max-line-length", "--config", META / "luacheckrc", *paths]
        return subprocess.run(command, cwd=ROOT, check=False, timeout=60, stdout=subprocess.PIPE, text=True)

    good = check("examples", "load/apps")
    assert good.returncode == 0, good.stdout
    bad = check(slip)
    assert bad.returncode == 1
    assert "'slep'" in bad.stdout and "'encod'" in bad.stdout


SHARED = """
    local shared = require "poolsrv.shared"
    local dict = shared.dict("d")
    function api.get(ctx)
        local found, lock, of = {}, shared.lock("l"), nil
        for name in (ctx:query().names):gmatch("%S+") do
            local table, field = name:match("(%w+)%.([%w_]+)")
            of = ({ dict = dict, lock = lock, shared = shared })[table]
            found[name] = type(of[field])
        end
        lock:unlock()
        return found
    end
"""


def test_the_stubs_of_shared_name_what_there_is(serve):
    names = [f"{table}.{name}" for table in ("dict", "lock", "shared") for name in methods_of(table)]
    found = serve(SHARED).get("/?names=" + "+".join(names)).json()
    assert len(names) == 19 and found == dict.fromkeys(names, "function")


WORK = """
    local modules = {}
    for _, name in ipairs { "queue", "task", "pubsub" } do modules[name] = require("poolsrv." .. name) end
    modules.queue.consume("names", function(names, job)
        local list = {}
        for name in names:gmatch("%S+") do list[#list + 1] = name .. "=" .. type(job[name]) end
        print("job: " .. table.concat(list, " "))
    end)
    function api.push.get(ctx) return modules.queue.push("names", ctx:query().names) end
    function api.get()
        local found = {}
        for name, module in pairs(modules) do
            for field, value in pairs(module) do
                assert(type(value) == "function")
                found[#found + 1] = name .. "." .. field
            end
        end
        return found
    end
"""


def test_the_stubs_of_queue_task_and_pubsub_name_what_there_is(serve):
    server = serve(WORK)
    names = {f"{table}.{name}" for table in ("queue", "task", "pubsub") for name in methods_of(table)}
    assert names == set(server.get("/").json()) and len(names) >= 16
    server.get("/push?names=" + "+".join(methods_of("job") + ["id", "attempt", "enqueued_at", "priority"]))
    told = server.log.wait(r"job: (.*)")[0][1]
    assert told == "extend=function progress=function id=string attempt=number enqueued_at=number priority=number"
