"""A server that breaks one promise, to see that tests/probe notices: standin.py HOW.

It prints its port. HOW is one of:
  good, reset, close, truncate, twice, garbage, status, body, id, silent, descriptors, threads, memory, end
  stall  the first request is answered when FRESH_WAITED_FOR others have come behind it
  later  the first two requests, which warm it up, are answered well, the others like `reset`
"""

import os
import re
import socket
import struct
import sys
import threading

FRESH_WAITED_FOR = 4
WARM_UP = 2


class Standin:
    def __init__(self, how):
        self.how = how
        self.kept = []
        self.requests = 0
        self.lock = threading.Lock()
        self.crowd = threading.Semaphore(0)

    def leak(self):
        if self.how == "descriptors":
            self.kept.append(os.dup(0))
        elif self.how == "memory":
            self.kept.append(b"x" * (1 << 20))
        elif self.how == "threads":
            thread = threading.Thread(target=threading.Event().wait, daemon=True)
            thread.start()

    def reply(self, head):
        identity = re.search(rb"X-Request-Id: (\S+)", head)[1]
        status, body = b"200 OK", b"hello " + identity
        if self.how == "status":
            status = b"500 Oops"
        elif self.how == "body":
            body = b"hello another"
        elif self.how == "id":
            identity = b"another"
        text = b"HTTP/1.1 %s\r\nContent-Length: %d\r\nX-Request-Id: %s\r\n\r\n%s" % (status, len(body), identity, body)
        return {"truncate": text[:-1], "twice": text + text, "garbage": b"\x00" * 100 + b"\r\n\r\n"}.get(self.how, text)

    def answer(self, client, head):
        """Returns: whether the connection goes on."""
        with self.lock:
            self.requests += 1
            number = self.requests
        how = self.how
        if how == "later":
            how = "good" if number <= WARM_UP else "reset"
        if how == "reset":
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return False
        if how == "end" and number > WARM_UP:
            os._exit(0)
        if how == "stall":
            if number == WARM_UP + 1:
                for _ in range(FRESH_WAITED_FOR):
                    self.crowd.acquire()
            elif number > WARM_UP:
                self.crowd.release()
        if how == "silent":
            client.recv(1)
        if how in ("close", "silent"):
            return False
        if number > WARM_UP:
            self.leak()
        client.sendall(self.reply(head))
        return b"Connection: close" not in head and how != "truncate"

    def serve(self, client):
        with client:
            buffer = b""
            while True:
                while b"\r\n\r\n" not in buffer:
                    data = client.recv(65536)
                    if not data:
                        return
                    buffer += data
                head, _, buffer = buffer.partition(b"\r\n\r\n")
                if not self.answer(client, head):
                    return

    def run(self):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            print(listener.getsockname()[1], flush=True)
            while True:
                client, _ = listener.accept()
                threading.Thread(target=self.quietly, args=(client,), daemon=True).start()

    def quietly(self, client):
        try:
            self.serve(client)
        except OSError:
            pass  # the probe left


if __name__ == "__main__":
    Standin(sys.argv[1]).run()
