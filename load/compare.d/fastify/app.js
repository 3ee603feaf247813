// The handlers that are compared, for Fastify. Each reply has a schema, which is how its documentation says to
// serialise fast.
"use strict";

const fastify = require("fastify");
const serve = require("./cluster.js");
const work = require("./work.js");

const string = { type: "string" };
const integer = { type: "integer" };
const object = (properties) => ({ type: "object", properties });
const list = object({
  items: {
    type: "array",
    items: object({ id: integer, name: string, stock: integer, tags: { type: "array", items: string } }),
  },
});
const replies = (schema) => ({ schema: { response: { 200: schema } } });

const items = work.items(work.ITEMS_64K);

serve((port) => {
  const app = fastify({ logger: false, keepAliveTimeout: 600000 });

  app.get("/echo", replies(object({ message: string, method: string })), (request, reply) => {
    reply.send({ message: "Echo GET", method: request.method });
  });
  app.post("/echo", replies(object({ method: string, received: list })), (request, reply) => {
    reply.send({ method: request.method, received: request.body });
  });
  app.get("/json/64k", replies(list), (_, reply) => {
    reply.send(items);
  });
  app.get("/json/64k/built", replies(list), (_, reply) => {
    reply.send(work.items(work.ITEMS_64K));
  });
  app.get("/users/:user/posts/:post", replies(object({ user: string, post: string, page: string })),
    (request, reply) => {
      const { user, post } = request.params;
      reply.send({ user, post, page: request.query.page });
    });
  app.get("/headers", replies(object({ agent: string, count: integer })), (request, reply) => {
    let count = 0;
    for (const _ in request.headers) count++;
    reply.send({ agent: request.headers["user-agent"], count });
  });
  app.get("/burn", replies(object({ turns: integer, x: integer })), (request, reply) => {
    reply.send(work.burn(Number(request.query.turns)));
  });
  app.get("/block", replies(object({ blocked_ms: integer })), (_, reply) => {
    reply.send(work.block(work.BLOCK_MS));
  });

  app.listen({ port, host: "127.0.0.1", backlog: 4096 });
});
