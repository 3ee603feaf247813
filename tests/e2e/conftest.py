"""Fixtures: servers and commands with apps of the test's own, in a folder of the test's own."""

import os
import textwrap

import pytest

import poolsrv
from redis import Redis

# It replaces what the sanitizers replace, too, and gcov's own end does not survive a refusal; its module says what is
# tested instead.
collect_ignore = ["test_faults.py"] if poolsrv.UNDER_SANITIZER else []

# Few threads: most tests ask one thing, and every thread has a VM to load. Tests add options behind these.
FEW_THREADS = ("--threads", "1", "--heavy-threads", "1")


# Where a test that is left out is no matter of taste: in CI, with the others' test vectors at hand.
NOTHING_IS_SKIPPED = bool(os.environ.get("CI")) and poolsrv.SHARED.exists()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    if report.skipped and NOTHING_IS_SKIPPED:
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} may not be left out here: {call.excinfo and call.excinfo.value}"


def write_files(folder, files):
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))


@pytest.fixture
def serve(tmp_path):
    """serve(app, *options, files=, ...): start a server with an app's text, or with the file at a Path.

    `files` are written beside it, name -> text; what else there is goes to poolsrv.Server. At the end of the
    test it is stopped, and has to have ended well; a test that means it to end otherwise says so in
    server.expected_code."""
    servers = []

    def start(app, *options, env=None, files=None, cwd=None, **popen):
        write_files(tmp_path, files or {})
        path = app
        if isinstance(app, str):
            path = tmp_path / "app.lua"
            path.write_text(textwrap.dedent(app))
        server = poolsrv.Server(path, *FEW_THREADS, *options, env=env, cwd=cwd, **popen)
        servers.append(server)
        return server

    yield start
    problems = []
    for server in servers:
        try:
            server.check_end()
        except AssertionError as problem:
            problems.append(str(problem))
    assert not problems, "\n".join(problems)


@pytest.fixture
def redis(tmp_path):
    """redis(*options): start a redis-server; it is ended with the test."""
    servers = []

    def start(*options):
        folder = tmp_path / f"redis{len(servers)}"
        folder.mkdir()
        servers.append(Redis(folder, *options))
        return servers[-1]

    yield start
    for server in servers:
        server.kill()


@pytest.fixture
def run_app(tmp_path):
    """run_app(app, *args, env=, files=): poolsrv with args and an app's text, for a run that ends by itself.

    Returns: the CompletedProcess. The app is app.lua in the current folder, and messages name it so."""

    def run(app, *args, env=None, files=None):
        write_files(tmp_path, files or {})
        (tmp_path / "app.lua").write_text(textwrap.dedent(app))
        return poolsrv.run(*args, "app.lua", env={"POOLSRV_PORT": "0", **(env or {})}, cwd=tmp_path)

    return run


@pytest.fixture
def app_problem(run_app):
    """app_problem(app): the text on stderr of an app that has an error, after seeing that it ended with 1."""

    def check(app, *args, **more):
        done = run_app(app, *args, **more)
        assert done.returncode == 1, (done.returncode, done.stdout, done.stderr)
        return done.stderr

    return check
