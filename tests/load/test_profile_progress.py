"""The line that says how long it will still take; the clock is a fake one."""

import io

from profile_progress import Progress, span


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


def test_until_something_was_seen_the_guesses_count():
    assert Progress({"a": (10, 2.0), "b": (4, 0.5)}, io.StringIO(), Clock()).left_s() == 22


def test_then_the_mean_of_what_was_seen_counts():
    clock = Clock()
    progress = Progress({"a": (10, 2.0), "b": (4, 0.5)}, io.StringIO(), clock)
    for took in (1, 5):
        clock.now += took
        progress.step("a", "a step")
    assert progress.left_s() == 8 * 3 + 2


def test_a_line_says_how_far_it_is_what_it_does_and_how_long():
    clock, out = Clock(), io.StringIO()
    progress = Progress({"a": (3, 1.0)}, out, clock)
    clock.now += 60
    progress.step("a", "the whole server")
    assert out.getvalue() == "1/3  the whole server, 2 min 00 s left\n"


def test_without_a_terminal_lines_are_few_and_the_last_is_there():
    clock, out = Clock(), io.StringIO()
    progress = Progress({"a": (100, 1.0)}, out, clock)
    for _ in range(100):
        clock.now += 1
        progress.step("a", "x")
    lines = out.getvalue().splitlines()
    assert len(lines) == 8 and lines[-1].startswith("100/100")


def test_on_a_terminal_the_line_is_rewritten_and_gone_at_the_end():
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    clock, out = Clock(), Terminal()
    progress = Progress({"a": (2, 1.0)}, out, clock)
    progress.step("a", "x")
    progress.step("a", "x")
    assert "\n" not in out.getvalue() and out.getvalue().endswith("\r\033[K")


def test_spans_are_read_easily():
    assert [span(s) for s in (-1, 0.4, 89, 90, 600)] == ["0 s", "0 s", "89 s", "1 min 30 s", "10 min 00 s"]
