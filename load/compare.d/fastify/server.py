"""Fastify on node: schemas for the replies, no logger; more than one worker through node's cluster module."""

from harness.server import Need, Server


class Fastify(Server):
    title = "Fastify"
    needs = (Need("node", "nodejs"), Need("npm", "npm"))
    npm = ("fastify",)
    warm_up = 3
    keep_alive = "600 s"
    logging = "logger: false"
    more = "NODE_ENV=production; a response schema for every route; blocking: Atomics.wait"

    def threads_text(self, workers):
        return "one process" if workers == 1 else f"cluster of {workers} processes and the primary"

    def environment(self, place):
        return {"NODE_ENV": "production", "WORKERS": str(place.workers), "PORT": str(place.port),
                "NODE_PATH": place.tools.node_modules}

    def command(self, place):
        place.copy("load/compare.d/shared/work.js", "load/compare.d/shared/cluster.js",
                   "load/compare.d/fastify/app.js")
        return ["node", place.path("app.js")]
