from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from pathlib import Path

from fixtures.notebooks import write_notebook

ROOT = Path(__file__).resolve().parents[1]


def in_terminal(*words: str, cwd: Path) -> tuple[int, str]:
    """Run ``lab`` in a terminal of 80 columns; return its exit code and all that it wrote there, without colours."""
    ours, its = pty.openpty()
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "80", "TERM": "xterm"}
    command = [sys.executable, "-m", "lab", *words]
    with subprocess.Popen(command, cwd=cwd, env=environment, stdin=its, stdout=its, stderr=its) as process:
        os.close(its)
        written = b""
        while part := _read(ours):
            written += part
    os.close(ours)
    return process.returncode, re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", written.decode("utf-8"))


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 1 << 16)
    except OSError:  # how Linux says that nobody has the other side any more
        return b""


def test_a_terminal_shows_the_total_and_what_each_worker_does(tmp_path: Path) -> None:
    cells = ["import time; time.sleep(0.5)"] * 3
    write_notebook(tmp_path / "nb.ipynb", *cells, parameters="x: int = 0  # any")
    code, shown = in_terminal("run", "nb.ipynb", "-p", "x=1,2,3", "--workers", "2", cwd=tmp_path)
    assert code == 0
    lines = [line.strip() for line in re.split(r"[\r\n]+", shown)]
    assert any(re.match(r"runs +━.* [12]/3 \d:\d\d:\d\d", line) for line in lines)
    assert any(re.match(r"x=[12] +━.* [34]/5 ", line) for line in lines)
    assert len([line for line in lines if re.match(r"completed +nb.ipynb x=[123] → outputs/nb/\w+", line)]) == 3
    assert lines[-2].startswith("3 runs in ") or lines[-1].startswith("3 runs in ")
    assert max(len(line) for line in lines if "━" in line) <= 80


def test_a_run_that_could_not_be_forked_says_so_once(tmp_path: Path) -> None:
    write_notebook(tmp_path / "nb.ipynb", "1", parameters="x: int = 0  # any")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "LAB_WARM": str(tmp_path / "nobody")}
    environment |= {"PYTHONHASHSEED": "0", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "lab", "run", "nb.ipynb", "-p", "x=1,2"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    assert done.stderr.count("a kernel was not forked") == 1
    assert done.stdout.count("completed") == 2
