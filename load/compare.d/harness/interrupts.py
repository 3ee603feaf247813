"""SIGINT and SIGTERM end the program, but never between the start of a process and the note of its id.

They cannot be blocked for that time, since a process inherits what is blocked. So they are held back here.
"""

import signal
from contextlib import contextmanager

_holding = 0
_held = None


def _end(number):
    raise SystemExit(128 + number)


def _on_signal(number, _):
    global _held
    if _holding:
        _held = number
    else:
        _end(number)


def install():
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _on_signal)


@contextmanager
def held():
    """What comes meanwhile ends the program behind the block."""
    global _holding
    _holding += 1
    try:
        yield
    finally:
        _holding -= 1
        if _held is not None and not _holding:
            _end(_held)
