"""tests/probe, which other tests believe: it holds beside a good server, and notices each broken promise."""

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

import poolsrv

HERE = Path(__file__).parent
COMMAND = str(poolsrv.ROOT / "tests/probe")
APP = """
    function api.get(ctx) return ctx.id end
    function api.health.get() return "well" end
"""
# A machine may be slow, and no test here is about its speed.
PATIENT = ("--p99", "20000", "--timeout", "20", "--rate", "50")
BRIEF = (*PATIENT, "--for", "0.4")


def probe(*arguments):
    """Returns: exit status and report."""
    done = subprocess.run([COMMAND, "--json", *map(str, arguments)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, timeout=60, check=False, env=poolsrv.environment())
    assert done.returncode in (0, 1) and "Traceback" not in done.stderr, done.stderr
    return done.returncode, json.loads(done.stdout)


def refusal(*arguments):
    """The last line of stderr, after seeing that the usage was wrong."""
    done = subprocess.run([COMMAND, *map(str, arguments)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, timeout=60, check=False, env=poolsrv.environment())
    assert (done.returncode, done.stdout) == (2, ""), done
    assert "Traceback" not in done.stderr, done.stderr
    return done.stderr.splitlines()[-1]


def text_of(address):
    return f"unix:{address}" if isinstance(address, str) else "%s:%d" % address


@pytest.fixture
def standin():
    """standin(how): a server of standin.py's. Returns: its address as text, and its process."""
    processes = []

    def start(how):
        process = subprocess.Popen([sys.executable, HERE / "standin.py", how], stdin=subprocess.DEVNULL,
                                   stdout=subprocess.PIPE, text=True)
        processes.append(process)
        return f"127.0.0.1:{int(process.stdout.readline())}", process

    yield start
    for process in processes:
        process.kill()
        process.wait()
        process.stdout.close()


# --- what holds ---

def test_a_good_server_holds(serve):
    server = serve(APP, "--request-id")
    code, report = probe(*BRIEF, "--pid", server.process.pid, "--own", "header", "--own", "body",
                         *(["--no-rss"] if poolsrv.UNDER_SANITIZER else []), text_of(server.address))
    assert (code, report["broken"]) == (0, [])
    assert report["requests"] == report["answered"] == 20
    assert report["p50_ms"] <= report["p99_ms"] <= report["max_ms"]
    assert report["before"]["threads"] >= 2 and report["after"]["descriptors"] <= report["before"]["descriptors"] + 2


def test_a_unix_socket_holds(serve, tmp_path):
    server = serve(APP, "--unix", tmp_path / "s")
    code, report = probe(*BRIEF, "--path", "/health", "--body", "well", text_of(server.address))
    assert (code, report["answered"]) == (0, 20)


def test_another_status_can_be_the_right_one(serve):
    server = serve(APP)
    assert probe(*BRIEF, "--path", "/none", "--expect", 404, text_of(server.address))[0] == 0
    assert probe(*BRIEF, "--path", "/none", text_of(server.address))[0] == 1


def test_a_good_standin_holds(standin):
    """So that what the others break is what they are named after."""
    address, process = standin("good")
    code, report = probe(*BRIEF, "--pid", process.pid, "--own", "header", "--own", "body", address)
    assert (code, report["broken"]) == (0, [])


def test_it_runs_beside_a_test(serve):
    server = serve(APP, "--request-id")
    with poolsrv.Probe(server, *PATIENT, "--own", "body") as probe_beside:
        server.get("/")
    assert probe_beside.report["answered"] == probe_beside.report["requests"] >= 1


def test_a_broken_promise_fails_the_test_it_runs_beside(serve):
    server = serve(APP)
    with pytest.raises(AssertionError, match="answered wrongly"):
        with poolsrv.Probe(server, *PATIENT, path="/none"):
            server.get("/")


# --- what does not ---

FAULTS = {
    "reset": "resets", "close": "resets", "truncate": "resets", "later": "resets",
    "twice": "wrong", "garbage": "wrong", "status": "wrong", "body": "wrong", "id": "wrong",
}


@pytest.mark.parametrize("how", FAULTS)
def test_a_reply_that_is_not_right_is_noticed(standin, how):
    address, _ = standin(how)
    code, report = probe(*BRIEF, "--own", "body", address)
    assert code == 1 and report["broken"]
    assert report[FAULTS[how]] > 0, report
    assert report["answered"] < report["requests"]
    assert report["answered"] + report["wrong"] + report["resets"] + report["unanswered"] == report["requests"]


def test_another_body_is_noticed(standin):
    address, _ = standin("good")
    code, report = probe(*BRIEF, "--body", "well", address)
    assert code == 1 and report["wrong"] == report["requests"]


def test_an_id_that_has_to_come_back_and_does_not_is_noticed(serve):
    server = serve(APP)
    code, report = probe(*BRIEF, "--own", "header", text_of(server.address))
    assert code == 1 and "no X-Request-Id" in report["examples"]["wrong"][0]


def test_no_reply_is_noticed(standin):
    address, _ = standin("silent")
    code, report = probe(*BRIEF, "--timeout", "0.2", address)
    assert code == 1 and report["unanswered"] == report["requests"]


def test_a_server_that_nobody_is_is_noticed():
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        code, report = probe(*BRIEF, text_of(bound.getsockname()))
    assert code == 1 and report["resets"] == report["requests"] > 0


def test_a_slow_server_is_noticed(standin):
    address, _ = standin("good")
    code, report = probe(*BRIEF, "--p99", "0.001", address)
    assert code == 1 and report["answered"] == report["requests"]
    assert [promise.split()[0] for promise in report["broken"]] == ["p99"]


def test_requests_go_on_while_one_is_stalled_and_its_wait_counts_from_when_it_was_due(standin):
    """The stand-in answers the first when four others have come: a client that waits would wait for ever."""
    address, _ = standin("stall")
    code, report = probe(*PATIENT, "--for", "2", "--rate", "4", "--p99", "250", address)
    assert code == 1 and report["answered"] == report["requests"]
    # On the fresh connection come every second request, the fourth of them 7 quarters of a second later.
    assert report["max_ms"] >= 1750
    assert "p99" in report["broken"][0]


@pytest.mark.parametrize("what", ("descriptors", "threads", "memory"))
def test_a_leak_is_noticed(standin, what):
    address, process = standin(what)
    code, report = probe(*BRIEF, "--settle", "0.3", "--pid", process.pid, address)
    named = "rss" if what == "memory" else what
    assert code == 1 and report["answered"] == report["requests"]
    assert [promise.split()[0] for promise in report["broken"] if "given back" in promise][:1] == [named], report


def test_a_leak_of_memory_can_be_left_out(standin):
    address, process = standin("memory")
    assert probe(*BRIEF, "--no-rss", "--pid", process.pid, address)[0] == 0


def test_a_leak_in_the_real_server_is_noticed(serve):
    server = serve("""
        local kept = {}
        function api.get() kept[#kept + 1] = io.open("/dev/null") return "ok" end
    """)
    code, report = probe(*BRIEF, "--settle", "0.3", "--no-rss", "--pid", server.process.pid, text_of(server.address))
    assert code == 1 and report["broken"][0].startswith("descriptors not given back"), report


def test_an_end_of_the_server_is_noticed(standin):
    address, process = standin("end")
    code, report = probe(*BRIEF, "--pid", process.pid, address)
    assert code == 1 and f"the server, process {process.pid}, has ended" in report["broken"]


# --- how long ---

def test_it_ends_with_its_command(standin, tmp_path):
    address, _ = standin("good")
    code, report = probe(*PATIENT, address, "--", "touch", tmp_path / "done")
    assert (code, report["command_status"]) == (0, 0)
    assert (tmp_path / "done").exists()


def test_a_command_that_fails_is_noticed(standin):
    address, _ = standin("good")
    assert probe(*PATIENT, address, "--", "false")[1]["broken"] == ["the command ended with 1"]
    assert probe(*PATIENT, "--any-status", address, "--", "false")[0] == 0


def test_a_command_that_goes_on_is_ended_with_its_children(standin, tmp_path):
    address, _ = standin("good")
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    with open(os.open(fifo, os.O_RDONLY | os.O_NONBLOCK), "rb") as reader:
        code, _ = probe(*BRIEF, address, "--", "sh", "-c", f'(exec cat /dev/zero >"{fifo}") & echo up >&2; wait')
        os.set_blocking(reader.fileno(), True)
        while reader.read(65536):
            pass  # its end shows that no writer is left
    assert code == 0


@pytest.mark.parametrize("number", (signal.SIGINT, signal.SIGTERM))
def test_it_ends_by_a_signal(standin, number):
    address, _ = standin("good")
    process = subprocess.Popen([COMMAND, *PATIENT, address], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True)
    assert process.stderr.readline() == "probing\n"
    process.send_signal(number)
    out, log = process.communicate(timeout=60)
    assert log == ""
    # The first request was due at once, but the signal may have been faster.
    assert process.returncode == (0 if out.endswith("\nheld\n") else 1), out
    assert "BROKEN      nothing was asked" in out or process.returncode == 0


def test_the_summary_names_what_broke(standin):
    address, _ = standin("status")
    done = subprocess.run([COMMAND, *BRIEF, address], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "BROKEN      answered wrongly: 20 of 20" in done.stdout
    assert "status 500, not 200" in done.stdout
    assert done.stdout.endswith("\ndid not hold\n")


# --- usage ---

def test_wrong_usage_is_2():
    assert "required: HOST:PORT" in refusal()
    assert "expected HOST:PORT" in refusal("localhost")
    assert "expected a number above 0" in refusal("--rate", "0", "localhost:80")
    assert "expected a command" in refusal("localhost:80", "--")
    assert "no such process" in refusal("--pid", "999999999", "localhost:80")
    assert "cannot run /nowhere" in refusal("127.0.0.1:1", "--", "/nowhere")


def test_help_is_enough():
    done = subprocess.run([COMMAND, "--help"], stdout=subprocess.PIPE, text=True, check=True)
    for word in ("--rate", "--expect", "--own", "--for", "--pid", "--settle", "--no-rss", "--p99", "--json",
                 "exit status"):
        assert word in done.stdout, word
