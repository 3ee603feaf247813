"""examples/jobs, as its command serves it: on memory, SQLite and Redis."""

import itertools
import json
import os
import signal
import struct
import subprocess
import time
from datetime import datetime, timezone
from pathlib import Path

import pytest

import poolsrv
from mailbox import Mailbox
from poolsrv import ROOT, Output, Server, parse_address
from test_slow import faketime

RUN = ROOT / "examples/jobs/run"
KINDS = ("memory", "sqlite", "redis")
JSON = {"Content-Type": "application/json"}
BYTES = {"Content-Type": "application/octet-stream"}
WIDTHS = (640, 320, 160, 80)


def children_of(pid):
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def comm_of(pid):
    return Path(f"/proc/{pid}/comm").read_text().strip()


class Example(Server):
    """The example, with what Server offers; `process` is its command."""

    def __init__(self, kind, folder, mailbox=None, env=None):  # pylint: disable=super-init-not-called
        env = {"POOLSRV_BIN": poolsrv.PROGRAM, "JOBS_DIR": str(folder), "JOBS_RETRY_DELAY": "5ms", "JOBS_LEASE": "1s",
               **({"SMTP_SERVER": mailbox.address} if mailbox else {}), **(env or {})}
        self.process = subprocess.Popen([RUN, kind, "--port", "0", "--threads", "1", "--heavy-threads", "2"],
                                        env=poolsrv.environment(env), stdin=subprocess.DEVNULL,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.out, self.log = Output(self.process.stdout), Output(self.process.stderr)
        self.folder = folder
        self.expected_code = 0
        try:
            self.address = parse_address(self.out.wait(r"^listening on (\S+)$")[0][1])
        except AssertionError as why:
            self.stop()
            raise AssertionError(f"{why}\n{self.log.text}") from None

    def server_pid(self):
        """The process that serves, which the supervisor watches."""
        parents = [self.process.pid, *children_of(self.process.pid)]
        supervisor = next(pid for pid in parents if comm_of(pid) == "poolsrv")
        return children_of(supervisor)[0]

    def post_json(self, target, value):
        return self.post(target, json.dumps(value), JSON)

    def sign_up(self, address, name="Ann"):
        return self.post_json("/signups", {"name": name, "email": address})

    def status(self):
        return self.get("/status").json()

    def is_idle(self):
        return all(one["ready"] + one["delayed"] + one["taken"] == 0 for one in self.status()["queues"])


@pytest.fixture
def mailbox():
    with Mailbox() as box:
        yield box


@pytest.fixture
def start(tmp_path):
    examples = []

    def begin(kind, *args, **more):
        examples.append(Example(kind, tmp_path / "var", *args, **more))
        return examples[-1]

    yield begin
    for example in examples:
        example.check_end()


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


def test_a_sign_up_sends_one_mail(start, kind, mailbox):
    example = start(kind, mailbox)
    reply = example.sign_up("ann+1@example.org", "Änn")
    assert (reply.status, reply.json()) == (202, {"id": "welcome-ann+1@example.org"})
    assert example.sign_up("ann+1@example.org").status == 200
    assert example.sign_up("bob@example.org").status == 202
    mailbox.wait(lambda box: {"ann+1@example.org", "bob@example.org"} <= {mail["to"] for mail in box.mails})
    example.until(example.is_idle)
    assert sorted(mailbox.recipients()) == ["ann+1@example.org", "bob@example.org"]
    mail = next(mail for mail in mailbox.mails if mail["to"] == "ann+1@example.org")
    assert mail["message-id"] == "<welcome-ann+1%40example.org@example.org>"
    assert "Dear Änn,\r\n" in mail.get_payload()


@pytest.mark.parametrize("new", [{}, {"name": "Ann"},
                                 {"name": "Ann", "email": "ann@example.org\r\nBcc: all@example.org"},
                                 {"name": "A\nB", "email": "ann@example.org"}, [], {"name": 1, "email": 2}])
def test_a_bad_sign_up_is_refused(start, new):
    example = start("memory")
    assert example.post_json("/signups", new).status == 422
    assert example.is_idle()


def test_without_a_mail_server_mails_are_files(start, kind):
    example = start(kind)
    example.sign_up("ann@example.org")
    file = example.folder / "outbox/welcome-ann@example.org.eml"
    example.until(file.exists)
    assert b"\r\nto: ann@example.org\r\n" in file.read_bytes()


# ---- thumbnails


def picture(width, height):
    """A PPM whose bytes are all different from their neighbours."""
    pixels = bytes((x * 7 + y * 13 + colour * 50) % 256 for y in range(height) for x in range(width)
                   for colour in range(3))
    return b"P6\n# made by a test\n%d %d\n255\n" % (width, height) + pixels, pixels


def mean(pixels, width, height, columns, rows, colour):
    values = [pixels[(y * width + x) * 3 + colour] for y in rows if y < height for x in columns if x < width]
    return sum(values) // len(values)


def check_thumbnail(bmp, pixels, width, height, limit):
    step = -(-width // limit)
    columns, rows = -(-width // step), -(-height // step)
    assert bmp[:2] == b"BM" and struct.unpack("<i", bmp[18:22])[0] == columns and columns <= limit
    assert struct.unpack("<i", bmp[22:26])[0] == rows
    line = -(-columns * 3 // 4) * 4
    for column, row in itertools.product((0, columns // 2, columns - 1), (0, rows // 2, rows - 1)):
        at = 54 + (rows - 1 - row) * line + column * 3
        wanted = [mean(pixels, width, height, range(column * step, column * step + step),
                       range(row * step, row * step + step), colour) for colour in (2, 1, 0)]
        assert list(bmp[at:at + 3]) == wanted, (limit, column, row)


def test_thumbnails_are_made_and_progress_is_shown(start, kind):
    example = start(kind)
    width, height = 701, 500
    ppm, pixels = picture(width, height)
    ids = [example.post("/thumbnails", ppm, BYTES).json()["id"] for _ in range(6)]
    seen = set()

    def all_done():
        seen.update(one["progress"] for one in example.status()["working"] if "progress" in one)
        return all(example.get(f"/thumbnails/{name}").json()["done"] for name in ids)

    example.until(all_done, 60)
    assert seen & {0.25, 0.5, 0.75}, seen
    made = example.get(f"/thumbnails/{ids[0]}").json()["thumbnails"]
    assert made == [f"/thumbnails/{ids[0]}/{limit}" for limit in WIDTHS]
    for limit in WIDTHS:
        reply = example.get(f"/thumbnails/{ids[-1]}/{limit}")
        assert reply.header("Content-Type") == "image/bmp"
        check_thumbnail(reply.body, pixels, width, height, limit)
    example.until(example.is_idle)
    assert list((example.folder / "uploads").iterdir()) == []


def test_what_is_no_picture_is_refused_and_a_cut_one_is_a_dead_letter(start):
    example = start("memory")
    for body in (b"", b"GIF89a", b"P6\n", b"P6\n0 5\n255\n", b"P6\n99999 99999\n255\n", b"P5 1 1 65535\n  "):
        assert example.post("/thumbnails", body, BYTES).status == 422
    name = example.post("/thumbnails", b"P5 100 100 255\n", BYTES).json()["id"]
    example.until(lambda: example.status()["dead"])
    dead, = example.status()["dead"]
    assert (dead["id"], dead["from"], dead["attempts"]) == (name, "thumbnails", 3)
    assert dead["error"].startswith("task.run")
    assert "the picture ends too early" in dead["error"]
    assert example.get("/thumbnails/..%2Fx").status == 404


# ---- failures


def test_dead_letters_are_shown_and_tried_again(start, kind, mailbox):
    mailbox.refused.add("nobody@example.org")
    example = start(kind, mailbox)
    example.sign_up("nobody@example.org")
    example.until(lambda: example.status()["dead"])
    page = example.get("/")
    assert "welcome-nobody@example.org" in page.text and "550 no such user here" in page.text
    mailbox.refused.clear()
    reply = example.post("/retry", "")
    assert (reply.status, reply.header("Location")) == (303, "/")
    mailbox.wait(lambda box: [mail["to"] for mail in box.mails] == ["nobody@example.org"])
    example.until(example.is_idle)
    assert example.status()["dead"] == []


@pytest.mark.parametrize("kind", ("sqlite", "redis"))
def test_a_kill_loses_no_mail(start, kind, mailbox):
    """One mail is under way when the server dies, others wait, and clients come in the meantime."""
    example = start(kind, mailbox)
    addresses = [f"user{i}@example.org" for i in range(40)]
    mailbox.hold(10)
    for address in addresses[:20]:
        assert example.sign_up(address).status == 202
    mailbox.wait(lambda box: box.held is not None)
    server = example.server_pid()
    os.kill(server, signal.SIGKILL)
    for address in addresses[20:]:
        assert example.sign_up(address).status == 202
    assert example.server_pid() != server
    mailbox.release()
    mailbox.wait(lambda box: {mail["to"] for mail in box.mails} == set(addresses))
    held = mailbox.held["message-id"]
    mailbox.wait(lambda box: sum(mail["message-id"] == held for mail in box.mails) == 2)
    example.until(example.is_idle)
    assert example.status()["dead"] == []


# ---- the report


def test_the_report_tells_what_was_done_since_the_last(start, kind, mailbox):
    example = start(kind, mailbox)
    for address in ("ann@example.org", "bob@example.org"):
        example.sign_up(address)
    example.until(lambda: len(mailbox.recipients()) == 2 and example.is_idle())
    assert example.post("/reports", "").status == 204
    assert "\nmails: 2\nthumbnails: 0\nfailures: 0\n" in example.get("/reports/latest").text
    assert example.post("/reports", "").status == 204
    assert "\nmails: 0\n" in example.get("/reports/latest").text


def test_the_report_comes_at_three_as_the_zone_has_it(serve, tmp_path):
    """In the night in which the clocks go forward: three is when two would be."""
    three = datetime(2026, 3, 29, 1, tzinfo=timezone.utc).timestamp()
    rc, folder = tmp_path / "faketimerc", tmp_path / "var"
    rc.write_text(f"{three - 3600 - time.time():+.0f}")
    for kind in ("uploads", "thumbnails", "outbox", "reports"):  # else a shell would: it hangs with both libraries
        (folder / kind).mkdir(parents=True)
    example = serve(RUN.parent / "app.lua", env={"JOBS_DIR": str(folder), **faketime(rc)})
    assert example.get("/reports/latest").text == "none yet\n"
    poolsrv.replace(rc, f"{three - 1 - time.time():+.0f}")
    report = folder / "reports/2026-03-29.txt"
    example.until(report.exists)
    assert report.read_text().startswith("Report of 2026-03-29 01:00 UTC\n")
