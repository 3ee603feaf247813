"""A terminal for programs that draw on one: a pty, and a screen that understands what an xterm does.

Screen     the characters that stand where, made of the bytes that came
Terminal   a program on a pty: type keys, resize, wait until the screen shows something

A sequence that the screen does not know is an error: what a test has not understood it cannot judge.
"""

import codecs
import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import termios
import threading
import time

import poolsrv

SEQUENCE = re.compile(r"\x1b(?:\[([?>=]?)([0-9;]*)([A-Za-z@`])|([78=>MDEc])|([()])([0AB]))")
KEYS = {"up": "\x1bOA", "down": "\x1bOB", "page up": "\x1b[5~", "page down": "\x1b[6~", "home": "\x1bOH",
        "end": "\x1bOF"}


class Screen:
    """Lines of characters; columns of wide ones are not looked after."""

    def __init__(self, columns, lines):
        self.problem = None
        self.alternate = False
        self.cursor_shown = True
        self.rest = ""
        self.resize(columns, lines)

    def resize(self, columns, lines):
        self.columns, self.lines = columns, lines
        self.clear()

    def clear(self):
        self.cells = [[" "] * self.columns for _ in range(self.lines)]
        self.x = self.y = 0
        self.top, self.bottom = 0, self.lines - 1

    @property
    def text(self):
        return "\n".join("".join(line).rstrip() for line in self.cells)

    def feed(self, text):
        text, at = self.rest + text, 0
        while at < len(text):
            if text[at] != "\x1b":
                self.put(text[at])
                at += 1
                continue
            found = SEQUENCE.match(text, at)
            if not found:
                if len(text) - at > 20:
                    self.problem = f"unknown sequence {text[at:at + 20]!r}"
                    at += 1
                    continue
                break
            self.obey(found)
            at = found.end()
        self.rest = text[at:]

    def put(self, char):
        if char == "\r":
            self.x = 0
        elif char == "\n":
            self.line_down()
        elif char == "\b":
            self.x = max(self.x - 1, 0)
        elif char == "\t":
            self.x = min((self.x // 8 + 1) * 8, self.columns - 1)
        elif char >= " ":
            if self.x == self.columns:
                self.x = 0
                self.line_down()
            self.last = self.cells[self.y][self.x] = char
            self.x += 1
        elif char != "\a":
            self.problem = f"control character {char!r}"

    def line_down(self):
        if self.y == self.bottom:
            self.scroll(self.top, 1)
        else:
            self.y = min(self.y + 1, self.lines - 1)

    def line_up(self):
        if self.y == self.top:
            self.scroll(self.top, -1)
        else:
            self.y = max(self.y - 1, 0)

    def scroll(self, top, n):
        """n lines go at `top`, and as many empty ones come at the bottom; the other way round for n < 0."""
        for _ in range(abs(n)):
            gone, comes = (top, self.bottom) if n > 0 else (self.bottom, top)
            del self.cells[gone]
            self.cells.insert(comes, [" "] * self.columns)

    def erase(self, from_cell, to_cell):
        for i in range(from_cell, min(to_cell, self.columns * self.lines)):
            self.cells[i // self.columns][i % self.columns] = " "

    def obey(self, found):
        mark, numbers, command, single, _, _ = found.groups()
        if single == "M":
            self.line_up()
        if not command:
            return
        if mark:
            self.set_mode(mark, numbers, command)
            return
        given = [int(n) if n else 0 for n in numbers.split(";")]
        n = max(given[0], 1)
        here, line = self.y * self.columns + min(self.x, self.columns - 1), self.y * self.columns
        row = self.cells[self.y]
        if command in "Hf":
            self.y, self.x = min(n, self.lines) - 1, min(max((given + [1])[1], 1), self.columns) - 1
        elif command == "A":
            self.y = max(self.y - n, 0)
        elif command == "B":
            self.y = min(self.y + n, self.lines - 1)
        elif command == "C":
            self.x = min(self.x + n, self.columns - 1)
        elif command == "D":
            self.x = max(self.x - n, 0)
        elif command == "d":
            self.y = min(n, self.lines) - 1
        elif command in "G`":
            self.x = min(n, self.columns) - 1
        elif command == "J":
            self.erase({0: here, 1: 0, 2: 0}[given[0]], here + 1 if given[0] == 1 else self.columns * self.lines)
        elif command == "K":
            self.erase({0: here, 1: line, 2: line}[given[0]], here + 1 if given[0] == 1 else line + self.columns)
        elif command == "X":
            self.erase(here, min(here + n, line + self.columns))
        elif command == "P":
            row[self.x:] = (row[self.x + n:] + [" "] * n)[:self.columns - self.x]
        elif command == "@":
            row[self.x:] = ([" "] * n + row[self.x:])[:self.columns - self.x]
        elif command == "L":
            self.scroll(self.y, -n)
        elif command == "M":
            self.scroll(self.y, n)
        elif command in "ST":
            self.scroll(self.top, n if command == "S" else -n)
        elif command == "b":
            for _ in range(n):
                self.put(self.last)
        elif command == "r":
            self.top, self.bottom = n - 1, ((given + [0])[1] or self.lines) - 1
            self.x = self.y = 0
        elif command not in "mlht":
            self.problem = f"unknown sequence {found[0]!r}"

    def set_mode(self, mark, numbers, command):
        on = command == "h"
        for number in numbers.split(";") if mark == "?" else []:
            if number == "1049":
                self.alternate = on
                self.clear()
            elif number == "25":
                self.cursor_shown = on


class Terminal:
    """A program on a terminal of its own, in a session of its own. Use it in `with`."""

    def __init__(self, *command, columns=80, lines=24, env=None):
        self.screen = Screen(columns, lines)
        self.master, self.slave = pty.openpty()
        self._set_size(columns, lines)
        self.before = termios.tcgetattr(self.slave)
        self._changed = threading.Condition()
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        env = poolsrv.environment({"TERM": "xterm", "LC_ALL": "C.UTF-8", "NO_COLOR": "", **(env or {})})
        self.process = subprocess.Popen(list(map(str, command)), env=env, stdin=self.slave, stdout=self.slave,
                                        stderr=self.slave, start_new_session=True, preexec_fn=self._own_terminal)
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    @staticmethod
    def _own_terminal():
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.hang_up()

    def _set_size(self, columns, lines):
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def _read(self):
        master = self.master
        while True:
            try:
                data = os.read(master, 65536)
            except OSError:
                data = b""
            with self._changed:
                if not data:
                    self._changed.notify_all()
                    return
                self.screen.feed(self._decoder.decode(data))
                self._changed.notify_all()

    def wait(self, look, deadline_s=poolsrv.DEADLINE_S):
        """Wait until the screen's text has a match of the pattern, or look(screen) is true. Returns: it."""
        end = time.monotonic() + deadline_s
        with self._changed:
            while True:
                assert not self.screen.problem, self.screen.problem
                found = re.search(look, self.screen.text, re.M) if isinstance(look, str) else look(self.screen)
                if found:
                    return found
                left = end - time.monotonic()
                assert left > 0, f"{deadline_s} s passed without {look}; the screen:\n{self.screen.text}"
                self._changed.wait(left)

    def shows(self, pattern):
        """Whether the screen has a match now; for what must not be there when something else is."""
        with self._changed:
            return re.search(pattern, self.screen.text, re.M) is not None

    def type(self, *keys):
        for key in keys:
            os.write(self.master, KEYS.get(key, key).encode())

    def resize(self, columns, lines):
        with self._changed:
            self.screen.resize(columns, lines)
            self._set_size(columns, lines)

    def send_signal(self, number):
        os.kill(self.process.pid, number)

    def hang_up(self):
        """The line is cut."""
        for name in ("master", "slave"):
            if getattr(self, name) is not None:
                os.close(getattr(self, name))
                setattr(self, name, None)

    def end(self):
        """Wait for the program's end. Returns: its exit code, negative for a signal."""
        return self.process.wait(poolsrv.DEADLINE_S)

    def is_as_before(self):
        """Whether the terminal is in the state in which the program found it."""
        self.wait(lambda screen: not screen.alternate and screen.cursor_shown)
        return termios.tcgetattr(self.slave) == self.before

    def check_signal_ends(self, number):
        self.send_signal(number)
        assert self.end() == 0
        assert self.is_as_before(), signal.Signals(number).name
