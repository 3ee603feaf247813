"""poolsrv itself: as many threads without sockets as with, so that a long handler always has one to go to."""

from harness.server import Need, Server


class Poolsrv(Server):
    title = "poolsrv"
    needs = (Need("/usr/lib/*/lua/5.4/socket/core.so", "lua-socket"),)
    version_command = ("@POOLSRV@", "--version")
    keep_alive = "600 s"
    logging = "no access log"
    more = "handlers: lane auto; blocking: LuaSocket's sleep"

    def threads_text(self, workers):
        return f"{workers} with sockets and {workers} without"

    def command(self, place):
        place.copy("load/apps/payload.lua", "load/compare.d/shared/work.lua", "load/compare.d/poolsrv/app.lua")
        count = str(place.workers)
        return [place.tools.poolsrv, "--port", "0", "--threads", count, "--heavy-threads", count,
                "--idle-timeout", "600", place.path("app.lua")]
