"""The rule of conftest.py: in CI nothing is left out."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import poolsrv

HERE = Path(__file__).resolve().parent


@pytest.mark.parametrize("ci, code, words", [("", 0, "1 skipped"), ("true", 1, "may not be left out here")])
def test_a_skipped_test_is_a_failure_where_all_can_run(tmp_path, ci, code, words):
    for name in ("conftest.py", "poolsrv.py", "redis.py"):
        shutil.copy(HERE / name, tmp_path)
    (tmp_path / "test_it.py").write_text("import pytest\ndef test_it(): pytest.skip('no mood')\n")
    env = poolsrv.environment({"CI": ci, "POOLSRV_BIN": poolsrv.PROGRAM, "POOLSRV_SHARED": str(tmp_path)})
    done = subprocess.run([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)], env=env,
                          cwd=tmp_path, timeout=60, check=False, stdout=subprocess.PIPE, text=True)
    assert done.returncode == code, done.stdout
    assert words in done.stdout
