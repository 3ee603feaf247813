"""node's own http module; more than one worker through its cluster module."""

from harness.server import Need, Server


class Node(Server):
    title = "node http"
    needs = (Need("node", "nodejs"),)
    version_command = ("node", "--version")
    warm_up = 3
    keep_alive = "600 s"
    logging = "none"
    more = "NODE_ENV=production; JSON.stringify, Content-Length set; blocking: Atomics.wait"

    def threads_text(self, workers):
        return "one process" if workers == 1 else f"cluster of {workers} processes and the primary"

    def environment(self, place):
        return {"NODE_ENV": "production", "WORKERS": str(place.workers), "PORT": str(place.port)}

    def command(self, place):
        place.copy("load/compare.d/shared/work.js", "load/compare.d/shared/cluster.js", "load/compare.d/node/app.js")
        return ["node", place.path("app.js")]
