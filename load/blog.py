#!/usr/bin/env python3
"""Drives examples/blog as people would: sign up, write, read, change, search, delete.

Usage: blog.py PORT [--duration S] [--connections N]

Each connection is a thread with a user of its own and knows what every reply must be, since nobody else touches
that user's posts. Prints "wrong: N" and the "result" line of the wrk scripts. The client is Python: it shows that
the blog is right under load, not how fast it can be.
"""
import argparse
import http.client
import json
import os
import sys
import threading
import time

TITLE = "'); DROP TABLE posts;-- "


class Wrong(Exception):
    """A reply that is not what it must be."""


class Person(threading.Thread):
    """One connection that signs up and then goes through the life of a post again and again."""

    def __init__(self, port, number, deadline):
        super().__init__(daemon=True)
        # No other run has had this name, also when the database is an old one.
        self.name_ = f"p{os.getpid()}.{int(time.time())}.{number}"
        self.port = port
        self.deadline = deadline
        self.connection = self.connect()
        self.headers = {"content-type": "application/json"}
        self.latencies_us = []
        self.wrong = self.errors = 0
        self.id = None

    def connect(self):
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)

    def call(self, method, path, status, body=None):
        """Sends one request; its reply must have this status. Returns the JSON in it, or its text."""
        start = time.perf_counter()
        self.connection.request(method, path, None if body is None else json.dumps(body), self.headers)
        reply = self.connection.getresponse()
        text = reply.read().decode()
        self.latencies_us.append((time.perf_counter() - start) * 1e6)
        if reply.status != status:
            raise Wrong(f"{method} {path}: status {reply.status}, not {status}: {text[:300]}")
        is_json = reply.headers.get_content_type() == "application/json"
        return json.loads(text) if is_json else text

    def must(self, fact, what, got):
        if not fact:
            raise Wrong(f"{what}: {json.dumps(got)[:300]}")

    def sign_up(self):
        user = self.call("POST", "/users", 201, {"name": self.name_})
        self.must(user["name"] == self.name_ and len(user["token"]) == 64, "sign-up", user)
        self.call("POST", "/users", 409, {"name": self.name_})
        self.id = user["id"]
        self.call("POST", f"/users/{self.id}/posts", 401, {"title": "t", "body": "b"})
        self.headers["authorization"] = "Bearer " + user["token"]
        self.call("POST", f"/users/{self.id}/posts", 422, {"title": "", "body": "b"})
        self.call("GET", "/users/0/posts", 404)
        got = self.call("GET", f"/users/{self.id}/posts", 200)
        self.must(got == {"posts": []}, "posts of a new user", got)

    def round(self, number):
        title, word = f"{TITLE}{number}", f"w{self.id}x{number}"
        post = self.call("POST", f"/users/{self.id}/posts", 201, {"title": title, "body": f"About {word}"})
        self.must(post["title"] == title and post["author"] == self.name_, "the new post", post)
        path = f"/posts/{post['id']}"
        got = self.call("GET", path, 200)
        self.must(got == post, "the post", got)
        got = self.call("GET", f"/users/{self.id}/posts?limit=5", 200)["posts"]
        self.must(got[0] == post and len(got) <= 5, "the list of posts", got)
        got = self.call("GET", f"/search?q={word}", 200)["posts"]
        self.must([found["id"] for found in got] == [post["id"]], "the search", got)
        got = self.call("GET", f"/users?name={self.name_}", 200)["users"]
        self.must(self.id in [user["id"] for user in got], "the users", got)
        got = self.call("PATCH", path, 200, {"body": "Changed \u00e9\U0001f600"})
        self.must(got["title"] == title and got["body"] == "Changed \u00e9\U0001f600", "the change", got)
        got = self.call("GET", f"/search?q={word}", 200)
        self.must(got == {"posts": []}, "the search after the change", got)
        got = self.call("GET", "/", 200)
        self.must("<h1>Blog</h1>" in got, "the front page", got)
        if number % 2:
            got = self.call("DELETE", path, 204)
            self.must(got == "", "the delete", got)
            self.call("GET", path, 404)

    def step(self, number):
        try:
            if self.id is None:
                self.sign_up()
            self.round(number)
        except (Wrong, KeyError, TypeError, IndexError, ValueError) as fault:
            self.wrong += 1
            if self.wrong == 1:
                print(f"blog.py: {type(fault).__name__}: {fault}", file=sys.stderr)
        except (OSError, http.client.HTTPException) as fault:
            self.errors += 1
            if self.errors == 1:
                print(f"blog.py: {type(fault).__name__}: {fault}", file=sys.stderr)
            self.connection.close()

    def run(self):
        number = 0
        while number == 0 or time.monotonic() < self.deadline:
            number += 1
            self.step(number)
            if self.id is None:
                return
        self.connection.close()


def percentile(ordered, percent):
    if not ordered:
        return 0
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("--duration", type=float, default=10)
    parser.add_argument("--connections", type=int, default=8)
    args = parser.parse_args()

    start = time.monotonic()
    people = [Person(args.port, i, start + args.duration) for i in range(args.connections)]
    for person in people:
        person.start()
    for person in people:
        person.join()
    elapsed_us = (time.monotonic() - start) * 1e6

    latencies = sorted(value for person in people for value in person.latencies_us)
    wrong = sum(person.wrong for person in people)
    errors = sum(person.errors for person in people)
    print(f"wrong: {wrong}")
    print(f"result requests={len(latencies)} duration_us={elapsed_us:.0f} p50_us={percentile(latencies, 50):.0f}"
          f" p99_us={percentile(latencies, 99):.0f} p999_us={percentile(latencies, 99.9):.0f}"
          f" errors={errors} wrong={wrong}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
