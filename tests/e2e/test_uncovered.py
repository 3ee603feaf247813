"""What tests/uncovered makes of a report and of the list of explained lines."""

import json
import subprocess
import sys

import pytest

import poolsrv

SOURCE = """int one(void)
{
    if (x)
        return -1;
    if (y)
        return -1;
    return 0;
}
void two(void)
{
""" + 95 * "    y();\n" + "}\n"
LINES = [*range(3, 8), *range(11, 106)]
MANY = range(11, 31)
ENTRY = "vm/a.c one: return -1;\n"


@pytest.fixture
def judge(tmp_path):
    """judge(uncovered lines, list): the exit status and the output."""
    for folder in "queue", "runtime", "api", "vm":
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.c").write_text(SOURCE)

    def run(uncovered, text, *options, folder="vm"):
        files = [{"file": f"{name}/a.c",
                  "functions": [{"lineno": 1, "name": "one"}, {"lineno": 9, "name": "two"}],
                  "lines": [{"line_number": n, "count": int(name != folder or n not in uncovered),
                             "gcovr/noncode": False, "gcovr/excluded": False} for n in LINES]}
                 for name in ("queue", "runtime", "api", "vm")]
        (tmp_path / "coverage.json").write_text(json.dumps({"files": files}))
        (tmp_path / "list.txt").write_text(text)
        command = [sys.executable, poolsrv.ROOT / "tests/uncovered", *options, "coverage.json", "list.txt"]
        done = subprocess.run(command, cwd=tmp_path,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60, check=False)
        return done.returncode, done.stdout

    return run


def test_lines_that_are_covered_need_no_word(judge):
    code, out = judge((), "")
    assert code == 0
    assert out.splitlines()[1].split() == ["queue", "100", "100", "100.0"]


def test_a_line_that_is_not_covered_needs_one(judge):
    code, out = judge((4,), "")
    assert code == 1
    assert "vm/a.c:4: no test reaches it" in out
    assert ENTRY in out
    assert judge((4,), "# A reason.\n" + ENTRY)[0] == 0


def test_each_of_several_like_lines_needs_its_own(judge):
    assert judge((4, 6), "# A reason.\n" + ENTRY)[0] == 1
    assert judge((4, 6), "# A reason.\n\n" + ENTRY + ENTRY)[0] == 0


def test_an_explanation_that_nothing_needs_is_told(judge):
    code, out = judge((), "# A reason.\n" + ENTRY)
    assert code == 1
    assert "list.txt:2: a test reaches it now" in out
    assert judge((), "# A reason.\n# sometimes: not so.\n" + ENTRY)[0] == 1


def test_what_is_reached_sometimes_may_be(judge):
    for uncovered in (), (4,):
        assert judge(uncovered, "# Before.\n\n# sometimes: a race\n# of two.\n" + ENTRY)[0] == 0


@pytest.mark.parametrize("reason", ("# A reason.\n", "# sometimes: a race.\n"))
def test_a_line_that_is_gone_is_told(judge, reason):
    code, out = judge((), reason + "vm/a.c one: return 7;\n")
    assert code == 1
    assert "list.txt:2: there is no such line any more" in out


def test_a_folder_under_its_floor_fails_whatever_is_explained(judge):
    code, out = judge(MANY, "# A reason.\n" + len(MANY) * "vm/a.c two: y();\n")
    assert code == 1
    assert "vm/ is under 90 %" in out
    assert "no test reaches" not in out
    assert judge(MANY, "", folder="api")[0] == 0


def test_another_compiler_is_held_to_the_floor_only(judge):
    code, out = judge((4,), "", "--told")
    assert code == 0
    assert "no test reaches it" in out
    assert judge(MANY, "", "--told")[0] == 1


@pytest.mark.parametrize("text", ("vm/a.c one: return -1;\n", "# A reason.\nvm/a.c return -1;\n"))
def test_a_list_that_cannot_be_read_is_refused(judge, text):
    assert judge((), text)[0] == 2
