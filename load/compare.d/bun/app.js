// The handlers that are compared, for Bun. More than one worker: processes that share the port, as its documentation
// says for Linux.
"use strict";

const work = require("./work.js");

const items = work.items(work.ITEMS_64K);
const workers = Number(process.env.WORKERS);

function serve() {
  Bun.serve({
    hostname: "127.0.0.1",
    port: Number(process.env.PORT),
    reusePort: workers > 1,
    idleTimeout: 255,
    routes: {
      "/echo": {
        GET: (request) => Response.json({ message: "Echo GET", method: request.method }),
        POST: async (request) => Response.json({ method: request.method, received: await request.json() }),
      },
      "/json/64k": { GET: () => Response.json(items) },
      "/json/64k/built": { GET: () => Response.json(work.items(work.ITEMS_64K)) },
      "/users/:user/posts/:post": {
        GET: (request) => {
          const { user, post } = request.params;
          return Response.json({ user, post, page: new URL(request.url).searchParams.get("page") });
        },
      },
      "/headers": {
        GET: (request) => {
          let count = 0;
          for (const _ of request.headers.keys()) count++;
          return Response.json({ agent: request.headers.get("user-agent"), count });
        },
      },
      "/burn": {
        GET: (request) => Response.json(work.burn(Number(new URL(request.url).searchParams.get("turns")))),
      },
      "/block": {
        GET: () => {
          Bun.sleepSync(work.BLOCK_MS);
          return Response.json({ blocked_ms: work.BLOCK_MS });
        },
      },
    },
  });
}

if (workers === 1 || process.env.IS_WORKER) {
  serve();
} else {
  const children = [];
  for (let i = 0; i < workers; i++)
    children.push(Bun.spawn([process.execPath, __filename], { env: { ...process.env, IS_WORKER: "1" },
      stdio: ["ignore", "inherit", "inherit"] }));
  process.on("SIGTERM", () => {
    for (const child of children) child.kill();
    process.exit(0);
  });
}
