"""`lab runs` as a person or a machine types it: streams, exit codes, 80 columns."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from fixtures.notebooks import PARAMETERS, write_notebook
from fixtures.runs import gradient, write_run

from lab.run import run_notebook

ROOT = Path(__file__).resolve().parents[1]
LAB = [sys.executable, "-m", "lab", "runs"]
A, B = "a" * 16, "b" * 16


def runs(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "80", "NO_COLOR": "1"}
    return subprocess.run([*LAB, *words], cwd=cwd, capture_output=True, text=True, check=False, timeout=110, env=env)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Runs of two notebooks: a twice and b, which failed; one of another, which cannot be read."""
    outputs = tmp_path / "outputs"
    error = {"cell": 0, "name": "ValueError", "message": "x is \x1b[31m[bold]wrong"}
    many = {f"p{number}": "a long value" for number in range(9)}
    write_run(outputs, key=A, day=1, parameters={"x": 1.0, "y": 5, **many})
    write_run(outputs, key=B, day=2, parameters={"x": 2.0, "y": 5, **many}, status="failed", error=error)
    rows = [gradient(), gradient("J [bold]", ulps=80.0, verdict="fail")]
    write_run(outputs, key=A, day=3, parameters={"x": 1.0, "y": 5, **many}, comparisons=rows, canonical="e" * 16)
    (write_run(outputs, "other", key="c" * 16, day=4) / "run.json").write_text("{")
    return tmp_path


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["list", "othr"], 2, "Did you mean 'other'?"),
        (["list", "--status", "faild"], 2, "Did you mean 'failed'?"),
        (["list", "--limit", "0"], 2, "--limit"),
        (["lst"], 2, "Did you mean 'list'?"),
        (["show", "nb/latets"], 2, "Did you mean 'nb/latest'?"),
        (["show"], 2, "Missing argument"),
        (["show", "c"], 5, "run.json cannot be read"),
        (["compare", "a", "zz"], 2, "There is no run 'zz'."),
        (["prune"], 2, "Expected --failed, --older-than DAYS, --keep N or --repeated."),
        (["export", "runs.xlsx"], 2, "Expected csv, jsonl, parquet"),
        (["export", "runs.txt", "--format", "parquett"], 2, "Did you mean 'parquet'?"),
        (["export", "-", "--format", "parquet"], 2, "on standard output csv or jsonl"),
        (["export", "nowhere/runs.csv"], 5, "Could not write"),
        (["verify", "a", "b", "--notebook", "nb.ipynb"], 2, "given for 2 runs"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_a_mistake_gets_one_message_and_its_exit_code(place: Path, words: list[str], code: int, said: str) -> None:
    done = runs(*words, cwd=place)
    assert (done.returncode, done.stdout) == (code, "")
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_without_any_run_a_list_says_how_to_make_one(tmp_path: Path) -> None:
    done = runs("list", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "There are no runs below outputs. 'lab run NOTEBOOK' makes one." in done.stdout
    assert list(tmp_path.iterdir()) == []
    assert json.loads(runs("list", "--json", cwd=tmp_path).stdout) == {"runs": []}
    assert runs("verify", cwd=tmp_path).returncode == 2
    assert runs("prune", "--failed", cwd=tmp_path).stdout == "0 of 0 runs, 0 B.\n"


def test_a_list_shows_the_newest_first_with_the_parameters_that_differ(place: Path) -> None:
    done = runs("list", cwd=place)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["started", "(UTC)", "notebook", "run", "status", "s", "off", "x"]
    assert [line.split()[2:5] for line in lines[1:]] == [
        ["other", "cccccccc", "unreadable"],
        ["nb", "aaaaaaaa-2", "completed"],
        ["nb", "bbbbbbbb", "failed"],
        ["nb", "aaaaaaaa", "completed"],
    ]
    assert [line.split()[-1] for line in lines[2:]] == ["1.0", "2.0", "1.0"]
    assert max(map(len, lines)) <= 80


def test_a_list_names_the_parameters_that_find_no_room(place: Path) -> None:
    for day in (5, 6):
        wide = {f"parameter{number}": f"{day} and more" for number in range(9)}
        write_run(place / "outputs", "wide", key=f"{day}" * 16, day=day, parameters=wide)
    done = runs("list", "wide", cwd=place)
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert "parameter0" in done.stdout.splitlines()[0]
    assert "without room: " in done.stdout
    assert done.stdout.count("\n") == 4


def test_a_list_is_narrowed(place: Path) -> None:
    def listed(*words: str) -> list[str]:
        found = json.loads(runs("list", *words, "--json", cwd=place).stdout)["runs"]
        return [run["path"] for run in found]

    assert listed("--status", "failed") == [f"outputs/nb/{B}"]
    assert listed("nb.ipynb", "--limit", "2") == [f"outputs/nb/{A}-2", f"outputs/nb/{B}"]
    assert listed("--status", "timeout") == []


def test_a_run_is_shown_with_nothing_that_a_terminal_would_obey(place: Path) -> None:
    done = runs("show", "b", cwd=place)
    assert (done.returncode, done.stderr) == (0, "")
    for said in (
        f"nb/{B}  failed",
        "ValueError: x is \N{REPLACEMENT CHARACTER}[31m[bold]wrong",
        "torch 2.13.0",
        "run.json",
    ):
        assert said in done.stdout, said
    assert "\x1b" not in done.stdout
    worst = re.findall(r"([\d.]+) ulp +(\w+) +(.+),", runs("show", "nb/latest", cwd=place).stdout)
    assert worst == [("80", "fail", "J [bold]"), ("0", "pass", "dy/dx = 2x")]


def test_a_record_is_shown_as_it_is(place: Path) -> None:
    record = json.loads((place / "outputs" / "nb" / A / "run.json").read_text())
    assert json.loads(runs("show", A, "--json", cwd=place).stdout) == record


def test_two_runs_are_compared(place: Path) -> None:
    done = runs("compare", "aaaaaaaa", "aaaaaaaa-2", cwd=place)
    assert (done.returncode, done.stderr) == (1, "")
    for said in ("canonical: cccc", "J [bold]: – → 4.0 (80.0 ulp, fail)", "seconds: × 1", "other results"):
        assert said in done.stdout, said
    found = json.loads(runs("compare", "aaaaaaaa", "aaaaaaaa-2", "--json", cwd=place).stdout)
    assert (found["same"], found["results"]["canonical"]) == (False, ["c" * 16, "e" * 16])
    done = runs("compare", A, A, cwd=place)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "the same results")


def test_nothing_is_pruned_before_it_was_said(place: Path) -> None:
    said = runs("prune", "--repeated", cwd=place)
    assert said.returncode == 0
    assert f"would remove nb/{A}  completed" in said.stdout
    assert re.search(r"^1 of 4 runs, [\d.]+ k?B\. Add --yes to remove them\.$", said.stdout, re.MULTILINE)
    assert (place / "outputs" / "nb" / A).is_dir()
    done = runs("prune", "--repeated", "--yes", cwd=place)
    assert f"removed nb/{A}  completed" in done.stdout
    assert not (place / "outputs" / "nb" / A).exists()
    assert A + "/" not in (place / "outputs" / "runs.jsonl").read_text()
    found = json.loads(runs("prune", "--failed", "--yes", "--json", cwd=place).stdout)
    assert [run["path"] for run in found["runs"]] == ["outputs/other/" + "c" * 16, f"outputs/nb/{B}"]
    assert found["removed"] is True
    assert [path.name for path in (place / "outputs" / "nb").iterdir() if path.name != "latest"] == [f"{A}-2"]


def test_runs_are_exported_by_the_ending_or_to_standard_output(place: Path) -> None:
    done = runs("export", "all runs.csv", cwd=place)
    assert (done.returncode, done.stdout) == (0, "4 rows → all runs.csv\n")
    text = (place / "all runs.csv").read_text()
    assert text.count("\n") == 5
    assert runs("export", "-", cwd=place).stdout == text.replace("\r\n", "\n")
    lines = runs("export", "-", "nb", "--format", "jsonl", "--comparisons", cwd=place).stdout.splitlines()
    assert [json.loads(line)["gradient.name"] for line in lines] == [
        "dy/dx = 2x",
        "J [bold]",
        "dy/dx = 2x",
        "dy/dx = 2x",
    ]


def test_an_export_that_fails_keeps_the_file_of_before(place: Path) -> None:
    pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    assert runs("export", "runs.parquet", cwd=place).returncode == 0
    before = (place / "runs.parquet").read_bytes()
    assert before[:4] == b"PAR1"
    assert runs("export", "runs.parquet", "unknown", cwd=place).returncode == 2
    assert (place / "runs.parquet").read_bytes() == before


def test_real_runs_are_shown_as_a_page_compared_and_verified(tmp_path: Path) -> None:
    # Processes and not this one, whose torch settings other tests may have changed.
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    write_notebook(tmp_path / "same.ipynb", "print(x)", parameters=PARAMETERS)
    write_notebook(tmp_path / "other.ipynb", "print(x)", "import time\ntime.time_ns()", parameters=PARAMETERS)
    for _ in range(2):
        command = [sys.executable, "-m", "lab", "run", "same.ipynb", "other.ipynb", "--force"]
        subprocess.run(command, cwd=tmp_path, env=env, check=True, capture_output=True)

    done = runs("show", "same/latest", "--html", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    page = tmp_path / done.stdout.strip()
    assert (page.name, page.parent.parent.name) == ("same.html", "same")
    assert "<title>same</title>" in page.read_text("utf-8")

    pair = sorted(path.name for path in (tmp_path / "outputs" / "same").iterdir() if path.name != "latest")
    assert runs("compare", *pair, cwd=tmp_path).returncode == 0

    assert runs("verify", "same", cwd=tmp_path).returncode == 0
    done = runs("verify", cwd=tmp_path)
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    assert re.fullmatch(r"differs  other/\w+-2: canonical; first in cell 4 of the executed notebook", lines[0])
    assert [line.strip()[0] for line in lines[1:4]] == ["@", "-", "+"]
    assert re.fullmatch(r"same     same/\w+-2", lines[-1])

    write_notebook(tmp_path / "other.ipynb", "1")
    done = runs("verify", "other", "same", "--json", cwd=tmp_path)
    assert done.returncode == 2
    assert [row["status"] for row in json.loads(done.stdout)["runs"]] == ["stale", "same"]


def test_pages_are_no_part_of_what_is_compared(tmp_path: Path) -> None:
    path = write_notebook(tmp_path / "nb.ipynb", "1")
    result = run_notebook(path, {}, outputs=tmp_path / "outputs")
    before = runs("show", "nb", "--json", cwd=tmp_path).stdout
    assert runs("show", "nb", "--html", "--json", cwd=tmp_path).stdout == before
    assert (result.path / "nb.html").is_file()
