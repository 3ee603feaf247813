"""Bun: Bun.serve with routes. Its npm package brings the program, so no install script runs."""

from harness.server import Need, Server


class Bun(Server):
    title = "Bun"
    needs = (Need("npm", "npm"),)
    npm = ("bun",)
    version_command = ("@BUN@", "--version")
    warm_up = 3
    keep_alive = "255 s, the most there is"
    logging = "none"
    more = "NODE_ENV=production; routes, Response.json; blocking: Bun.sleepSync"

    def threads_text(self, workers):
        return "one process" if workers == 1 else f"{workers} processes with reusePort and their parent"

    def missing(self, tools):
        return None if tools.bun else "the npm package bun brought no program for this machine"

    def environment(self, place):
        return {"NODE_ENV": "production", "WORKERS": str(place.workers), "PORT": str(place.port)}

    def command(self, place):
        place.copy("load/compare.d/shared/work.js", "load/compare.d/bun/app.js")
        return [place.tools.bun, place.path("app.js")]
