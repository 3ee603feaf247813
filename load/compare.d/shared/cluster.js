// One process serves by itself; several come from node's cluster module, as its documentation says.
"use strict";

const cluster = require("node:cluster");

module.exports = function serve(start) {
  const workers = Number(process.env.WORKERS);
  if (workers === 1 || !cluster.isPrimary) return start(Number(process.env.PORT));
  for (let i = 0; i < workers; i++) cluster.fork();
  process.on("SIGTERM", () => {
    for (const worker of Object.values(cluster.workers)) worker.process.kill("SIGTERM");
    process.exit(0);
  });
};
