"""nginx with lua-nginx-module: LuaJIT, lua-cjson, code cache, a listening socket for each worker process."""

from harness.server import Need, Server


class Nginx(Server):
    title = "nginx + LuaJIT + cjson"
    needs = (
        Need("nginx", "nginx"),
        Need("/usr/lib/nginx/modules/ngx_http_lua_module.so", "libnginx-mod-http-lua"),
        Need("/usr/lib/*/lua/5.1/cjson.so", "lua-cjson"),
    )
    version_command = ("nginx", "-v")
    keep_alive = "600 s, without a limit of requests"
    logging = "access_log off, error_log warn"
    more = "lua_code_cache on, listen reuseport; blocking: usleep through ffi"

    def threads_text(self, workers):
        return f"{workers} worker processes of one thread" if workers > 1 else "1 worker process of one thread"

    def command(self, place):
        place.copy("load/apps/payload.lua", "load/compare.d/shared/work.lua", "load/compare.d/nginx/app.lua")
        place.fill("load/compare.d/nginx/nginx.conf")
        return ["nginx", "-p", place.folder, "-c", place.path("nginx.conf"), "-e", place.path("error.log")]
