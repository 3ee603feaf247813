"""Where the server listens."""

import os
import socket
import stat
import subprocess
import sys

import pytest

import poolsrv
from crowd import crowd, settled
from poolsrv import Client

APP = """
    function api.get(ctx) return "hello" end
    function api.ip.get(ctx) return { ip = ctx.ip or json.null } end
"""


@pytest.fixture
def path(tmp_path_factory):
    return str(tmp_path_factory.mktemp("s") / "s")


# --- Unix sockets ---


def test_a_unix_socket_serves_and_is_removed_at_the_end(serve, path):
    server = serve(APP, "--unix", path, "--threads", "3")
    for _ in range(20):
        assert server.get("/").text == "hello"
    assert server.get("/ip").json() == {"ip": None}
    assert server.stop() == 0
    assert not os.path.exists(path)


def test_the_file_of_a_dead_server_is_replaced(serve, path):
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(path)
    assert stat.S_ISSOCK(os.stat(path).st_mode)
    assert serve(APP, "--unix", path).get("/").text == "hello"


def test_a_file_that_is_no_socket_is_left_alone(run_app, path):
    with open(path, "w", encoding="utf-8") as file:
        file.write("precious")
    done = run_app(APP, "--unix", path)
    assert done.returncode == 3
    assert path in done.stderr
    with open(path, encoding="utf-8") as file:
        assert file.read() == "precious"


def test_a_unix_socket_in_use_is_refused_and_stays_with_its_owner(serve, run_app, path):
    server = serve(APP, "--unix", path)
    done = run_app(APP, "--unix", path)
    assert done.returncode == 3
    assert path in done.stderr
    assert server.get("/").text == "hello"


def test_a_unix_socket_in_no_folder_is_refused(run_app, path):
    done = run_app(APP, "--unix", path + "/no/s")
    assert done.returncode == 3
    assert "No such file or directory" in done.stderr


def test_a_unix_path_that_is_too_long_is_refused(run_app, path):
    assert run_app(APP, "--unix", path + "x" * 200).returncode == 2


# --- inherited ---

# Descriptors from 3 on are the sockets, and LISTEN_PID is who execs the server: what a service manager does.
INHERIT = """
import fcntl, os, sys
fds = [fcntl.fcntl(int(fd), fcntl.F_DUPFD, 100) for fd in sys.argv[1].split(",")]
for i, fd in enumerate(fds):
    os.dup2(fd, 3 + i)
    os.close(fd)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(fds)))
if sys.argv[2]:
    os.environ["LISTEN_FDNAMES"] = sys.argv[2]
os.execv(sys.argv[3], sys.argv[3:])
"""


def inheriting(*listeners, names=""):
    fds = [listener.fileno() for listener in listeners]
    return {"under": (sys.executable, "-c", INHERIT, ",".join(map(str, fds)), names), "pass_fds": fds}


@pytest.mark.parametrize("threads", (1, 3))
def test_an_inherited_tcp_socket_is_served(serve, threads):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        address = listener.getsockname()
        server = serve(APP, "--threads", threads, **inheriting(listener))
    assert server.address == address
    for _ in range(20):
        assert server.get("/").text == "hello"
    assert server.get("/ip").json() == {"ip": "127.0.0.1"}


def test_an_inherited_unix_socket_is_served_and_its_file_stays(serve, path):
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        server = serve(APP, **inheriting(listener))
    assert server.address == path
    assert server.get("/ip").json() == {"ip": None}
    assert server.stop() == 0
    assert os.path.exists(path)


def listeners(n):
    """Sockets that share a port, as a service manager keeps them."""
    found, port = [], 0
    for _ in range(n):
        found.append(socket.socket())
        found[-1].setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        found[-1].bind(("127.0.0.1", port))
        port = found[-1].getsockname()[1]
        found[-1].listen()
    return found


@pytest.mark.parametrize("kept, threads", [(4, 1), (2, 2), (1, 3)])
def test_kept_sockets_serve_whatever_the_number_of_threads(serve, kept, threads):
    """Nobody accepts from those that are too many: clients must not come to them."""
    ours = listeners(kept)
    server = serve(APP, "--threads", threads, **inheriting(*ours, names=":".join(["poolsrv"] * kept)))
    for _ in range(40):
        assert server.get("/").text == "hello"
    for listener in ours:
        listener.close()


@pytest.mark.parametrize("names", ["web.socket:poolsrv-admin", "poolsrv-admin:poolsrv.socket"])
def test_a_lent_socket_beside_one_that_was_kept(serve, names):
    web, admin = listeners(1) + listeners(1)
    pair = (admin, web) if names.startswith("poolsrv-admin") else (web, admin)
    server = serve(APP, "--admin", "127.0.0.1:0", **inheriting(*pair, names=names))
    assert (server.address, server.admin_address) == (web.getsockname(), admin.getsockname())
    assert server.get("/").text == "hello" and server.admin("/healthz").status == 200
    web.close()
    admin.close()


def refused(tmp_path, *sockets):
    """The words with which a server refuses what was handed down."""
    app = tmp_path / "app.lua"
    app.write_text(APP)
    how = inheriting(*sockets)
    done = subprocess.run([*how["under"], poolsrv.PROGRAM, str(app)], pass_fds=how["pass_fds"], stdin=subprocess.DEVNULL,
                          env=poolsrv.environment(), capture_output=True, text=True, timeout=poolsrv.DEADLINE_S, check=False)
    assert done.returncode == 3, done.stderr
    return done.stderr


def test_two_lent_sockets_are_too_many(tmp_path):
    two = listeners(2)
    assert "2 sockets were handed down" in refused(tmp_path, *two)
    for listener in two:
        listener.close()


def test_what_was_handed_down_and_takes_no_connections_is_refused(tmp_path):
    with socket.socket(type=socket.SOCK_DGRAM) as datagrams:
        assert "a socket that was handed down (LISTEN_FDS): Protocol wrong type" in refused(tmp_path, datagrams)
    with open(tmp_path / "file", "wb") as file:
        assert "a socket that was handed down (LISTEN_FDS): Socket operation on non-socket" in refused(tmp_path, file)


def test_the_admin_address_is_not_the_socket_that_was_handed_down(serve):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        server = serve(APP, "--admin", "127.0.0.1:0", **inheriting(listener))
        assert server.address == listener.getsockname() != server.admin_address
    assert server.get("/").text == "hello"
    assert server.admin("/healthz").text == "ok"


def test_listen_fds_for_another_process_is_ignored(serve):
    server = serve(APP, "--port", "0", env={"LISTEN_FDS": "1", "LISTEN_PID": "1"})
    assert server.get("/").text == "hello"


# --- addresses ---


def has_ipv6():
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
        return True
    except OSError:
        return False


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="skipped: no IPv6 on this machine")


@needs_ipv6
def test_an_ipv6_address_is_served(serve):
    server = serve(APP, "--host", "::1")
    assert server.out.wait(r"^listening on http://\[::1\]:\d+$")
    assert server.get("/ip").json() == {"ip": "::1"}


@needs_ipv6
def test_the_any_address_serves_ipv4_and_ipv6(serve):
    server = serve(APP, "--host", "::", "--threads", "2")
    for _ in range(10):
        with Client(("::1", server.port)) as client:
            assert client.get("/ip").json() == {"ip": "::1"}
        with Client(("127.0.0.1", server.port)) as client:
            assert client.get("/ip").json() == {"ip": "127.0.0.1"}


def test_a_host_name_is_resolved(serve):
    assert serve(APP, "--host", "localhost").get("/").text == "hello"


def test_an_address_of_another_machine_is_refused(run_app):
    done = run_app(APP, "--host", "192.0.2.1", "--port", "0")
    assert done.returncode == 3
    assert "192.0.2.1" in done.stderr


def test_connections_are_served_whichever_worker_they_reach(serve):
    server = serve(APP, "--threads", "4")
    with crowd(server, 64) as clients:
        settled(server, clients)
