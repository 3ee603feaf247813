"""A mail server of a test's own: SMTP (RFC 5321) on a free port, which keeps what it is sent."""

import email
import socketserver
import threading

DEADLINE_S = 20


class Mailbox:
    """`mails` are those that came, each an email.message; `refused` the addresses that get a 550.

    hold(n) makes the n-th mail from now on, counted from 1, wait for its answer until release(): it was taken by then,
    and the client does not know."""

    def __init__(self):
        self.mails = []
        self.refused = set()
        self.held = None  # the mail that waits for its answer
        self._hold_in = 0
        self._changed = threading.Condition()
        self._released = threading.Event()
        self._released.set()
        box = self

        class Session(socketserver.StreamRequestHandler):
            def handle(self):
                try:
                    box.serve(self.rfile, self.wfile)
                except OSError:
                    pass  # the client was killed

        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Session)
        self._server.daemon_threads = True
        self._server.block_on_close = False
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def address(self):
        return "%s:%d" % self._server.server_address

    def close(self):
        self.release()
        self._server.shutdown()
        self._server.server_close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def hold(self, n):
        with self._changed:
            self._hold_in = n
            self._released.clear()

    def release(self):
        self._released.set()

    def recipients(self):
        with self._changed:
            return [mail["to"] for mail in self.mails]

    def wait(self, look, deadline_s=DEADLINE_S):
        """Wait until look(self) is true: it is asked whenever a mail has come."""
        with self._changed:
            assert self._changed.wait_for(lambda: look(self), deadline_s), f"only: {[m['to'] for m in self.mails]}"

    def _take(self, text):
        with self._changed:
            self.mails.append(email.message_from_string(text))
            self._hold_in -= 1
            if self._hold_in == 0:
                self.held = self.mails[-1]
            is_held = self._hold_in == 0
            self._changed.notify_all()
        if is_held:
            assert self._released.wait(DEADLINE_S)

    def serve(self, lines, out):
        def say(text):
            out.write(text.encode() + b"\r\n")
            out.flush()

        say("220 test")
        while True:
            line = lines.readline().decode("ascii").strip()
            verb = line[:4].upper()
            if not line or verb == "QUIT":
                say("221 bye")
                return
            if verb == "RCPT" and line[line.index("<") + 1:line.index(">")] in self.refused:
                say("550 no such user here")
            elif verb == "DATA":
                say("354 go on")
                self._take(body(lines))
                say("250 taken")
            else:
                say("250 fine")


def body(lines):
    text = []
    for line in iter(lines.readline, b".\r\n"):
        assert line, "the mail has no end"
        text.append(line[1:] if line.startswith(b"..") else line)
    return b"".join(text).decode("utf-8")
