"""Apache httpd with mod_lua: the event MPM, one process, Lua 5.3 in each of its threads.

It is made for many threads: with a single one it leaves connections unanswered, since it accepts none while no thread
is idle. So a worker is 25 threads here, which is its own default for a process, and they share the worker's core.
"""

from harness.server import Need, Server

THREADS = 25


class Apache(Server):
    title = "Apache mod_lua"
    needs = (
        Need("/usr/sbin/apache2", "apache2-bin"),
        Need("/usr/lib/apache2/modules/mod_lua.so", "apache2-bin"),
        Need("/usr/lib/*/lua/5.3/cjson.so", "lua-cjson"),
        Need("/usr/lib/*/lua/5.3/socket/core.so", "lua-socket"),
    )
    version_command = ("/usr/sbin/apache2", "-v")
    keep_alive = "600 s, without a limit of requests"
    logging = "no access log, LogLevel error"
    more = "LuaScope thread, LuaCodeCache forever; lua-cjson; blocking: LuaSocket's sleep"

    def threads_text(self, workers):
        return f"event MPM, one process of {THREADS * workers} threads and a listener, since a thread holds a request"

    def command(self, place):
        place.copy("load/apps/payload.lua", "load/compare.d/shared/work.lua", "load/compare.d/apache/app.lua")
        place.fill("load/compare.d/apache/httpd.conf", THREADS=THREADS * place.workers)
        return ["/usr/sbin/apache2", "-DFOREGROUND", "-d", place.folder, "-f", place.path("httpd.conf")]
