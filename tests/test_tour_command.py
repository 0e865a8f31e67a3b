"""`lab tour` as it is typed: its parts, its verdict, and that a signal ends it with nothing left running."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from fixtures.command import processes_of, wait_until

from lab.device import present_devices
from lab.report.tour import Command, PartResult, publish_tour, tour_result
from lab.teach.notebook import notebook_from_percent

ROOT = Path(__file__).resolve().parents[1]
LAB = [sys.executable, "-m", "lab"]
DOCUMENTED = (ROOT / "docs" / "outputs.md").read_text("utf-8").split("\n## tour.json\n")[1].split("\n## ")[0]
SLOW = "# %%\nfrom pathlib import Path\nimport time\nPath('started').touch()\ntime.sleep(60)\n"


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "80", "NO_COLOR": "1", **more}


def tour(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [*LAB, "tour", *words]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, timeout=110, env=environment())


def write_notebook(folder: Path, name: str, source: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.ipynb").write_text(notebook_from_percent(source), encoding="utf-8")


def verdict(folder: Path) -> dict[str, Any]:
    result: dict[str, Any] = json.loads((folder / "outputs/tour/latest/tour.json").read_text("utf-8"))
    return result


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--device", "tpu"], 3, "auto, cuda, xpu, mps, cpu"),
        (["--device", "cpu:7"], 3, "Present:"),
        (["--only", "lessn"], 2, "Did you mean 'lesson'?"),
        (["--only", "verify,nothing"], 2, "doctor, lesson, exercises, notebooks, verify"),
        (["--only", "notebooks"], 2, "There are no notebooks in notebooks."),
        (["--outputs", "file"], 5, "Could not write"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_a_mistake_is_told_before_anything_runs(words: list[str], code: int, message: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    answer = tour(*words, cwd=tmp_path)
    assert (answer.returncode, answer.stdout) == (code, "")
    assert message in answer.stderr
    assert "Traceback" not in answer.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.skipif("cuda" in {name.partition(":")[0] for name in present_devices()}, reason="this machine has CUDA")
def test_an_absent_device_ends_it_before_the_first_part(tmp_path: Path) -> None:
    answer = tour("--device", "cuda", "--only", "doctor", cwd=tmp_path)
    assert (answer.returncode, answer.stdout) == (3, "")


def test_a_part_that_fails_stops_no_other_and_decides_the_verdict(tmp_path: Path) -> None:
    write_notebook(tmp_path / "notebooks", "bad", "# %%\n1 / 0\n")
    write_notebook(
        tmp_path / "notebooks",
        "good",
        '# %% tags=["parameters"]\nsolutions: bool = False  # whether they are judged\n# %%\nassert solutions\n',
    )
    answer = tour("--only", "notebooks,doctor", "--device", "cpu", cwd=tmp_path)
    assert answer.returncode == 1, answer.stderr
    assert "1 of 2 parts of the tour failed on cpu: notebooks." in answer.stderr
    assert [line for line in answer.stdout.splitlines() if line.startswith("$ lab")] == [
        "$ lab doctor --device cpu",
        "$ lab run notebooks/bad.ipynb --outputs outputs --html --force",
        "$ lab run notebooks/good.ipynb -p solutions=true --outputs outputs --html --force",
    ]
    assert re.search(r"^doctor +pass +[\d.]+ +above *$", answer.stdout, re.MULTILINE)
    assert re.search(r"^notebooks +fail, exit code 4 +[\d.]+ +bad/[0-9a-f]{16}", answer.stdout, re.MULTILINE)
    found = verdict(tmp_path)
    assert found["verdict"] == "fail"
    assert [(part["name"], part["verdict"]) for part in found["parts"]] == [("doctor", "pass"), ("notebooks", "fail")]
    assert [command["exit_code"] for command in found["parts"][1]["commands"]] == [4, 0]
    assert [name.partition("/")[0] for name in found["parts"][1]["results"]] == ["bad", "good"]
    assert (tmp_path / "outputs" / "good" / "latest" / "good.html").is_file()


def test_what_an_earlier_day_has_finished_proves_nothing_and_runs_again(tmp_path: Path) -> None:
    write_notebook(tmp_path / "notebooks", "nb", "# %%\n1 + 1\n")
    results = []
    for _ in range(2):
        assert tour("--only", "notebooks", "--device", "cpu", cwd=tmp_path).returncode == 0
        results += verdict(tmp_path)["parts"][0]["results"]
    assert results[1] == f"{results[0]}-2"


def test_json_is_alone_on_stdout(tmp_path: Path) -> None:
    answer = tour("--only", "doctor", "--device", "cpu", "--json", cwd=tmp_path)
    assert answer.returncode == 0
    assert json.loads(answer.stdout) == verdict(tmp_path)
    assert "1 of 1 · doctor" in answer.stderr
    assert "torch.backends" not in answer.stdout.split('"environment"')[0]


def test_every_field_of_tour_json_is_documented_and_no_other(tmp_path: Path) -> None:
    parts = [PartResult("verify", (Command(("verify",), 1),), ("verify/key",), 1.5)]
    result = tour_result(parts, "cpu", quick=True, started="2026-01-02T03:04:05.678+00:00")
    assert json.loads(publish_tour(result, tmp_path).read_text("utf-8")) == result
    rows = re.findall(r"^\| (`[^|]+) \|", DOCUMENTED, re.MULTILINE)
    assert set(result) == {name for row in rows for name in re.findall(r"`([^`]+)`", row)}
    (part,) = result["parts"]
    inner = {*part, *part["commands"][0], *result["timing"]}
    assert inner <= set(re.findall(r"`([^`]+)`", DOCUMENTED))


def start(folder: Path, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*LAB, "tour", *words],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(LAB_TEST_FOLDER=str(folder)),
    )


def stop(process: subprocess.Popen[str], folder: Path, sent: int) -> tuple[str, str]:
    """Send a signal; return what it has printed. It has five seconds, and leaves no process."""
    began = time.monotonic()
    process.send_signal(sent)
    told, complaint = process.communicate(timeout=30)
    assert time.monotonic() - began < 5
    wait_until(lambda: processes_of(folder) == [], seconds=2)
    return told, complaint


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_it_and_keeps_what_was_finished(sent: signal.Signals, code: int, tmp_path: Path) -> None:
    write_notebook(tmp_path / "notebooks", "a_first", "# %%\n1 + 1\n")
    write_notebook(tmp_path / "notebooks", "b_slow", SLOW)
    write_notebook(tmp_path / "notebooks", "c_never", "# %%\n1 + 1\n")
    with start(tmp_path, "--only", "notebooks", "--device", "cpu") as process:
        wait_until(lambda: list(tmp_path.glob("outputs/.partial-*/files/started")), seconds=60)
        told, complaint = stop(process, tmp_path, sent)
    assert process.returncode == code
    assert "Traceback" not in complaint
    statuses = {
        path.parent.parent.name: json.loads(path.read_text("utf-8"))["status"]
        for path in tmp_path.glob("outputs/*/[!l]*/run.json")
    }
    assert statuses == {"a_first": "completed", "b_slow": "interrupted"}
    assert "c_never" not in told
    assert not (tmp_path / "outputs" / "tour").exists()


def has_child(process: subprocess.Popen[str], word: str) -> Callable[[], bool]:
    """Return whether a part has come so far that its command has started processes of its own."""

    def ask() -> bool:
        for child in psutil.Process(process.pid).children():
            try:
                if word in child.cmdline() and child.children():
                    return True
            except psutil.NoSuchProcess:
                pass
        return False

    return ask


@pytest.mark.parametrize("part", ["exercises", "verify"])
def test_a_terminate_ends_a_part_that_has_workers(part: str, tmp_path: Path) -> None:
    with start(tmp_path, "--only", part, "--device", "cpu") as process:
        wait_until(has_child(process, part), seconds=60)
        stop(process, tmp_path, signal.SIGTERM)
    assert process.returncode == 143


def test_a_part_that_does_not_end_is_killed(tmp_path: Path) -> None:
    """A stopped process hears nothing: it stands for one that hangs."""
    write_notebook(tmp_path / "notebooks", "slow", SLOW)
    with start(tmp_path, "--only", "notebooks", "--device", "cpu") as process:
        wait_until(lambda: list(tmp_path.glob("outputs/.partial-*/files/started")), seconds=60)
        (child,) = psutil.Process(process.pid).children()
        child.suspend()
        stop(process, tmp_path, signal.SIGTERM)
    assert process.returncode == 143
