"""poolsrv profile against a live server, and the context profile of load/, with tiny counts: what they do, not what
they measure."""

import json
import os
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from types import SimpleNamespace

import pytest

import poolsrv
from poolsrv import ROOT

sys.path.insert(0, str(ROOT / "load"))
import profile_measure as measure  # noqa: E402

ADMIN = ("--admin", "127.0.0.1:0")
BUILD = os.path.dirname(poolsrv.PROGRAM)
HARNESS = os.path.join(BUILD, "load/load_profile_context")
STRATEGIES = ("eager", "lazy", "preregistered", "recycled")
LIMIT_S = 300

APP = """
    function api.get(ctx) return "ok" end
    function api.users.p_id.get(ctx)
        if ctx:query().full then return ctx.method end
        return ctx:params().id
    end
"""


def profile(*words):
    return poolsrv.run("profile", *words)


# --- poolsrv profile ---


def admin_of(server):
    host, port = server.admin_address
    return f"{host}:{port}"


def test_profile_shows_which_share_of_the_requests_read_what(serve):
    server = serve(APP, *ADMIN, "--lane", "light")
    for target in ("/", "/users/1", "/users/2", "/users/3", "/users/4?full"):
        assert server.get(target).status == 200
    done = server.until(lambda: settled(server, "All routes, 5 requests"))
    blocks = done.stdout.split("\n\n")
    assert blocks[0].startswith("/users/:id, 4 requests\n")
    reads = re.search(r"reads +(.*)", blocks[0])[1]
    assert dict(re.findall(r"(\w+) ([\d.]+) %", reads)) == {"query": "100", "params": "75.0", "method": "25.0"}
    assert blocks[1].startswith("/, 1 requests\n    reads   nothing\n")


def settled(server, text):
    """A request is counted just after its reply has gone out."""
    done = profile(admin_of(server))
    assert done.returncode == 0, done.stderr
    return done if text in done.stdout else None


def test_profile_reckons_each_strategy_and_recommends_one(serve):
    server = serve(APP, *ADMIN)
    server.get("/")
    done = server.until(lambda: settled(server, "/, 1 requests"))
    costs = {name: int(ns) for name, ns in re.findall(r"(\w+) (\d+) ns", re.search(r"costs .*", done.stdout)[0])}
    assert tuple(costs) == STRATEGIES
    best = re.search(r"^Recommended for this traffic: --context (\w+)$", done.stdout, re.M)[1]
    assert costs[best] == min(costs.values())


def test_profile_takes_a_url_too(serve):
    server = serve(APP, *ADMIN)
    assert profile("http://" + admin_of(server)).returncode == 0
    assert profile(f"http://{admin_of(server)}/metrics").returncode == 0


def test_profile_of_a_server_without_requests_says_so(serve):
    server = serve(APP, *ADMIN)
    done = profile(admin_of(server))
    assert (done.returncode, done.stdout) == (0, "No route has answered a request yet.\n")


def test_profile_of_the_wrong_port_is_told_in_one_line(serve):
    server = serve(APP, *ADMIN)
    done = profile(f"127.0.0.1:{server.port}")
    assert done.returncode == 1 and done.stdout == ""
    assert re.fullmatch(r"poolsrv: 127\.0\.0\.1:\d+: .* 404: is this the address of --admin\?\n", done.stderr)


@pytest.mark.parametrize("words", [(), ("127.0.0.1:1", "127.0.0.1:2"), ("nowhere",), ("--port", "1")])
def test_profile_with_wrong_words_is_a_usage_error(words):
    done = profile(*words)
    assert done.returncode == 2 and done.stderr.startswith("poolsrv: ") and done.stderr.count("\n") == 1


def test_help_knows_profile():
    assert "poolsrv profile HOST:PORT" in profile("--help").stdout


# --- the context profile ---


def harness(*words, folder=ROOT / "load/apps"):
    done = subprocess.run([HARNESS, "--folder", str(folder), *words], capture_output=True, encoding="utf-8",
                          timeout=LIMIT_S, check=False)
    assert not poolsrv.SANITIZER.search(done.stderr), done.stderr
    return done


def context_profile(*words):
    env = {**os.environ, "POOLSRV_BUILD": BUILD}
    return subprocess.run([ROOT / "load/profile_context_creation.sh", *map(str, words)], env=env, capture_output=True,
                          encoding="utf-8", timeout=LIMIT_S, check=False)


def test_a_recycled_context_allocates_nothing_and_an_eager_one_does():
    done = harness("--count", "--cases", "none", "--requests", "4096")
    counts = {row.split()[2]: float(row.split()[3]) for row in done.stdout.splitlines()}
    assert tuple(counts) == STRATEGIES
    assert counts["recycled"] < 0.1 and counts["eager"] >= 5


def test_no_case_needs_more_allocations_recycled_than_eager():
    done = harness("--count", "--order", "eager,recycled", "--requests", "2048")
    counts = {tuple(row.split()[1:3]): float(row.split()[3]) for row in done.stdout.splitlines()}
    cases = {case for case, _ in counts}
    assert len(cases) == 22
    for case in cases:
        assert counts[case, "recycled"] < counts[case, "eager"], case


def test_a_wrong_reply_in_the_vm_ends_the_harness(tmp_path):
    shutil.copy(ROOT / "load/apps/context_requests.lua", tmp_path)
    app = (ROOT / "load/apps/context.lua").read_text()
    (tmp_path / "context.lua").write_text(app.replace("return ctx:params().id\n", "return 'wrong'\n"))
    done = harness("--cases", "params", "--requests", "10", folder=tmp_path)
    assert done.returncode == 1 and done.stdout == ""
    assert "params: eager answered 200 wrong" in done.stderr


def test_a_wrong_reply_of_the_server_ends_the_profile(serve):
    server = serve('function api.none.get() return "nope" end')
    url = SimpleNamespace(url=f"http://127.0.0.1:{server.port}")
    with pytest.raises(measure.Failure, match="wrong replies"):
        measure.check(url, "none", 2, ())


def test_the_context_profile_measures_judges_and_draws(tmp_path):
    files = {name: tmp_path / f"out.{name}" for name in ("json", "svg", "markdown", "costs")}
    done = context_profile("--runs", 2, "--requests", 20, "--duration", 0.1, "--connections", 4, "--patterns", "none,real",
                           *(word for name, path in files.items() for word in (f"--{name}", path)))
    assert done.returncode == 0, done.stderr
    assert re.search(r"^1/\d+  in the VM, \d+ s left$", done.stderr, re.M)
    data = json.loads(files["json"].read_text())
    assert set(data["levels"]) == {"vm", "cpu", "rate", "p99"} and set(data["patterns"]) == {"none", "real"}
    for level in data["levels"].values():
        for case in data["patterns"]:
            assert set(STRATEGIES) <= set(level["cases"][case])
            for strategy in STRATEGIES[1:]:
                cell = level["cases"][case][strategy]
                assert len(cell["samples"]) == 2 and all(sample > 0 for sample in cell["samples"])
                assert cell["verdict"] in ("A", "B", "C", "Worse", "Not distinguishable at 2 runs")
                assert cell["verdict"] in done.stdout
    ET.parse(files["svg"])
    assert "| pattern | eager | lazy | preregistered | recycled |" in files["markdown"].read_text()
    costs = files["costs"].read_text()
    wanted = (ROOT / "api/program/context_costs.def").read_text()
    names = r"^CONTEXT_(?:BASE|FIELD)\(([^)]*), -?[\d.]+\)$"
    assert re.findall(names, costs, re.M) == re.findall(names, wanted, re.M)


def test_the_context_profile_refuses_what_it_does_not_know():
    for words in (("--patterns", "moon"), ("--runs", "0"), ("--costs", "x", "--levels", "server"), ("--fast",)):
        done = context_profile(*words)
        assert done.returncode == 2 and done.stdout == "", words


def test_the_context_profile_explains_itself():
    done = context_profile("--help")
    assert done.returncode == 0 and "--quick" in done.stdout and "--callgrind" in done.stdout
