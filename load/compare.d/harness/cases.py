"""The cases: a request that is timed, others that are only checked, and what must come back for each."""

import json
from dataclasses import dataclass

HEAVY_CONNECTIONS = 2
LIGHT_CONNECTIONS = 16
BURN_MS = 20
BLOCK_MS = 100


@dataclass(frozen=True)
class Request:
    path: str
    expect: object  # the JSON value of the reply
    method: str = "GET"
    headers: tuple = ()  # (name, value)
    body: str | None = None


@dataclass(frozen=True)
class Case:
    """`beside` names the heavy load of the cases in which the light one comes at a fixed rate."""

    name: str
    title: str
    request: Request
    connections: int = 64
    also: tuple = ()
    beside: str | None = None
    closes: bool = False


def items(count):
    """The list of load/apps/payload.lua, made from its description and not by its code."""
    colours = ["blue", "pink", "grey", "gold"]
    return {"items": [{"id": 1000 + i, "name": f"item {1000 + i}", "stock": 10 + i % 90,
                       "tags": ["new", colours[i % 4]]} for i in range(1, count + 1)]}


def burned(turns):
    """What the heavy handler must answer: load/compare.d/shared/work.lua once more."""
    x = 1
    for i in range(1, turns + 1):
        x = (x * 31 + i) % 2 ** 32
    return {"turns": turns, "x": x}


def _post():
    value = items(16)
    return Request("/echo", {"method": "POST", "received": value}, method="POST",
                   headers=(("Content-Type", "application/json"),), body=json.dumps(value, separators=(",", ":")))


BROWSER = (
    ("User-Agent", "load/1.0 (compare)"),
    ("Accept", "application/json, text/plain;q=0.9, */*;q=0.8"),
    ("Accept-Language", "en-GB,en;q=0.7"),
    ("Authorization", "Bearer 0123456789abcdef0123456789abcdef"),
    ("Cache-Control", "no-cache"),
    ("X-Request-Id", "4b0d2c1e-7f3a-4c55-9a7e-5f1f6a0c2d11"),
)

ECHO = Request("/echo", {"message": "Echo GET", "method": "GET"})
CLOSING = Request("/echo", ECHO.expect, headers=(("Connection", "close"),))
ROUTE = Request("/users/42/posts/7?page=3", {"user": "42", "post": "7", "page": "3"})
ROUTE_ENCODED = Request("/users/a%20b/posts/%C3%A9?other=1&page=x%2Fy%20z",
                        {"user": "a b", "post": "\u00e9", "page": "x/y z"})
HEADERS = Request("/headers", {"agent": BROWSER[0][1], "count": len(BROWSER) + 1}, headers=BROWSER)  # and Host
BURN = Request("/burn?turns=1000", burned(1000))
BLOCK = Request("/block", {"blocked_ms": BLOCK_MS})

CASES = (
    Case("json-16", "small JSON, 16 connections", ECHO, connections=16),
    Case("json-64", "small JSON, 64 connections", ECHO),
    Case("json-512", "small JSON, 512 connections", ECHO, connections=512),
    Case("json-64k", "64 KB of JSON from a table built when the app loads", Request("/json/64k", items(1024))),
    Case("json-64k-built", "64 KB of JSON from a table built in each request",
         Request("/json/64k/built", items(1024))),
    Case("post-1k", "POST of 1 KB of JSON, decoded and sent back", _post()),
    Case("route", "route with two parameters and a query", ROUTE, also=(ROUTE_ENCODED,)),
    Case("headers", "all headers read", HEADERS),
    Case("connection", "a new connection for each request, 16 at a time", CLOSING, connections=16, closes=True),
    Case("mixed", f"mixed: {LIGHT_CONNECTIONS} light connections beside {HEAVY_CONNECTIONS} that ask for "
         f"{BURN_MS} ms of CPU", ECHO, connections=LIGHT_CONNECTIONS, also=(BURN,), beside="burn"),
    Case("blocking", f"blocking: {LIGHT_CONNECTIONS} light connections beside {HEAVY_CONNECTIONS} whose handler "
         f"blocks its thread for {BLOCK_MS} ms", ECHO, connections=LIGHT_CONNECTIONS, also=(BLOCK,), beside="block"),
)

BY_NAME = {case.name: case for case in CASES}
