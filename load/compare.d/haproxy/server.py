"""HAProxy's Lua services: Lua 5.3, loaded once in each thread so that threads do not share one lock."""

from harness.server import Need, Server


class Haproxy(Server):
    title = "HAProxy Lua service"
    needs = (
        Need("haproxy", "haproxy"),
        Need("/usr/lib/*/lua/5.3/cjson.so", "lua-cjson"),
        Need("/usr/lib/*/lua/5.3/socket/core.so", "lua-socket"),
    )
    version_command = ("haproxy", "-v")
    keep_alive = "600 s"
    logging = "none"
    more = "lua-load-per-thread; lua-cjson; blocking: LuaSocket's sleep"

    def threads_text(self, workers):
        return f"nbthread {workers}"

    def command(self, place):
        place.copy("load/apps/payload.lua", "load/compare.d/shared/work.lua", "load/compare.d/haproxy/app.lua")
        place.fill("load/compare.d/haproxy/haproxy.cfg")
        return ["haproxy", "-db", "-f", place.path("haproxy.cfg")]
