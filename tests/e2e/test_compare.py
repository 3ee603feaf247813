"""load/compare drives real servers, checks what they answer, and leaves nothing running."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from poolsrv import DEADLINE_S, PROGRAM, ROOT, Output, environment

QUICK = ("--no-install", "--workers", "1", "--rounds", "1", "--duration", "0.1")
FIGURES = {"rate", "p50_ms", "p99_ms", "p999_ms", "cpu_cores", "rss_mib", "threads", "errors", "closed", "client_busy"}


def start(*arguments, program=PROGRAM):
    return subprocess.Popen([sys.executable, str(ROOT / "load" / "compare"), *QUICK, *map(str, arguments)],
                            env=environment({"POOLSRV": str(program)}), stdin=subprocess.DEVNULL,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def compare(*arguments, **more):
    """Run it to its end. Returns: the exit code and what it said of its progress."""
    with start(*arguments, **more) as process:
        _, said = process.communicate(timeout=5 * DEADLINE_S)
    return process.returncode, said.decode()


def test_servers_are_checked_and_measured_side_by_side(tmp_path):
    document = tmp_path / "tables.md"
    code, said = compare("poolsrv,floor,nginx", "--cases", "json-16,post-1k,mixed", "--json", tmp_path / "figures.json",
                         "--svg", tmp_path, "--markdown", document)
    assert code == 0, said

    found = json.loads((tmp_path / "figures.json").read_text())
    there = {about["name"]: about for about in found["servers"]}
    gone = {missing["name"] for missing in found["missing"]}
    assert there.keys() | gone == {"poolsrv", "floor", "nginx"} and gone <= {"nginx"}
    assert there["poolsrv"]["threads"] == "1 with sockets and 1 without"
    assert there["poolsrv"]["capacity"] > 0 and there["poolsrv"]["burn"]["turns"] > 0
    assert found["light_rate"] > 0

    assert [case["name"] for case in found["cases"]] == ["json-16", "post-1k", "mixed"]
    for case in found["cases"]:
        rows = {row["server"]: row for row in case["rows"]}
        assert rows.keys() == there.keys() - (set() if case["name"] == "json-16" else {"floor"})
        for row in rows.values():
            assert row["failed"] is None and len(row["samples"]) == 1
            own = {"heavy_rate", "given_up"} if case["beside"] else {"cpu_us"}
            assert row["summary"].keys() == FIGURES | own
            assert row["summary"]["rss_mib"]["value"] > 0
        assert (tmp_path / f"{case['name']}.svg").read_text().startswith("<svg")
    assert "| poolsrv | 1 |" in document.read_text()


def test_wrong_reply_is_reported_and_not_timed(tmp_path):
    app = tmp_path / "wrong.lua"
    app.write_text('function api.echo.get() return { message = "Echo GET", method = "POST" } end\n')
    program = tmp_path / "poolsrv"
    program.write_text(f'#!/bin/sh\n[ "$1" = --port ] || exec {PROGRAM} "$@"\nexec {PROGRAM} --port 0 {app}\n')
    program.chmod(0o755)
    # The clients are looked for beside the program.
    (tmp_path / "load").symlink_to(os.path.join(os.path.dirname(PROGRAM), "load"))

    code, said = compare("poolsrv", "--cases", "json-16", "--json", tmp_path / "figures.json", program=program)
    assert code == 1, said
    row = json.loads((tmp_path / "figures.json").read_text())["cases"][0]["rows"][0]
    assert "answers" in row["failed"] and row["samples"] == []


def children(pid):
    """All processes below it."""
    pairs = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has just ended
            pairs.append((int(stat.parent.name), int(stat.read_text().rpartition(")")[2].split()[1])))
    found = [pid]
    for parent in found:
        found += [child for child, above in pairs if above == parent]
    return found[1:]


def command_of(pid):
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    return ""


@pytest.mark.parametrize("running", ["floor", "closedloop"])
def test_interrupt_stops_all_that_it_started(running):
    """While servers are being started, and while they are driven."""
    with start("poolsrv,floor", "--cases", "json-16", "--duration", "60") as process:
        said = Output(process.stderr)
        end = time.monotonic() + DEADLINE_S
        while True:
            below = children(process.pid)
            if any(running in command_of(pid) and " --" in command_of(pid) for pid in below):
                break
            assert time.monotonic() < end, said.text
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        assert process.wait(DEADLINE_S) == 130, said.text
    assert [pid for pid in below if os.path.exists(f"/proc/{pid}/exe")] == []
