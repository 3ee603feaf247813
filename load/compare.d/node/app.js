// The handlers that are compared, for node's own http.
"use strict";

const http = require("node:http");
const querystring = require("node:querystring");
const serve = require("./cluster.js");
const work = require("./work.js");

const items = work.items(work.ITEMS_64K);
const ROUTE = /^\/users\/([^/]+)\/posts\/([^/]+)$/;

function reply(response, value) {
  const body = JSON.stringify(value);
  response.writeHead(200, { "Content-Type": "application/json", "Content-Length": Buffer.byteLength(body) });
  response.end(body);
}

function echo(request, response) {
  if (request.method !== "POST") return reply(response, { message: "Echo GET", method: request.method });
  const parts = [];
  request.on("data", (part) => parts.push(part));
  request.on("end", () =>
    reply(response, { method: request.method, received: JSON.parse(Buffer.concat(parts).toString()) }));
}

function headers(request, response) {
  let count = 0;
  for (const _ in request.headers) count++;
  reply(response, { agent: request.headers["user-agent"], count });
}

const literal = {
  "/echo": echo,
  "/json/64k": (_, response) => reply(response, items),
  "/json/64k/built": (_, response) => reply(response, work.items(work.ITEMS_64K)),
  "/headers": headers,
  "/burn": (_, response, query) => reply(response, work.burn(Number(querystring.parse(query).turns))),
  "/block": (_, response) => reply(response, work.block(work.BLOCK_MS)),
};

function answer(request, response) {
  const url = request.url;
  const mark = url.indexOf("?");
  const path = mark < 0 ? url : url.slice(0, mark);
  const query = mark < 0 ? "" : url.slice(mark + 1);
  const handler = literal[path];
  if (handler) return handler(request, response, query);
  const found = ROUTE.exec(path);
  if (!found) return response.writeHead(404).end();
  const page = querystring.parse(query).page;
  reply(response, { user: decodeURIComponent(found[1]), post: decodeURIComponent(found[2]), page });
}

serve((port) => {
  const server = http.createServer({ keepAliveTimeout: 600000 }, answer);
  server.listen(port, "127.0.0.1", 4096);
});
