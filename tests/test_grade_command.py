"""`lab grade` as an instructor types it: what it refuses, what it prints and writes, and that nothing is lost."""

from __future__ import annotations

import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from lab.lessons import lesson_folders
from lab.practise import discover_exercises
from lab.practise.sandbox import find_sandbox

ROOT = Path(__file__).resolve().parents[1]
LAB = [sys.executable, "-m", "lab"]
EXERCISES = [exercise for folder in lesson_folders() for exercise in discover_exercises(folder)]
FIRST = EXERCISES[0]
RIGHT = "def two_partials(x, y):\n    (x**2 + y**3).backward()\n    return x.grad, y.grad\n"
LITERAL = "def two_partials(x, y):\n    return 4.0, 27.0\n"
ENDLESS = "def two_partials(x, y):\n    while True:\n        pass\n"


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "80", "NO_COLOR": "1", **more}


def lab(*words: str, cwd: Path, **more: str) -> subprocess.CompletedProcess[str]:
    env = environment(**more)
    return subprocess.run([*LAB, *words], cwd=cwd, capture_output=True, text=True, check=False, timeout=110, env=env)


def attempt(folder: Path, learner: str, source: str) -> None:
    path = folder / "course" / learner / FIRST.lesson / FIRST.path.name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(source, encoding="utf-8")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with a course of three learners: one right, one wrong, one named for a browser to stumble over."""
    for name, source in {"ann": RIGHT, "bob": LITERAL, "<script>": RIGHT}.items():
        attempt(tmp_path, name, source)
    return tmp_path


def grades(place: Path) -> dict[str, Any]:
    result: dict[str, Any] = json.loads((place / "outputs" / "grades.json").read_text("utf-8"))
    return result


def statuses(result: dict[str, Any]) -> dict[str, str]:
    """Return how far each learner is with the first exercise."""
    return {learner["learner"]: learner["grades"][0]["status"] for learner in result["learners"]}


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ([], 2, "Missing argument"),
        (["nowhere"], 2, "nowhere cannot be read as a folder: No such file or directory."),
        (["course/ann"], 2, "is one learner's workspace"),
        (["course/ann/05_gradients"], 2, "None of the 0 folders"),
        (["course/ann/05_gradients/ex01_two_partials.py"], 2, "Not a directory"),
        (["course", "--dtype", "float3"], 2, "Did you mean 'float32'?"),
        (["course", "--lesson", "99"], 2, "05_gradients"),
        (["course", "--seed", "one"], 2, "--seed"),
        (["course", "--device", "tpu"], 3, "auto, cuda, xpu, mps, cpu"),
        (["course", "--outputs", "course/ann/05_gradients/ex01_two_partials.py"], 5, "Could not write"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_a_wrong_word_is_refused_at_once_with_what_to_type(words: list[str], code: int, said: str, place: Path) -> None:
    done = lab("grade", *words, cwd=place)
    assert (done.returncode, done.stdout) == (code, "")
    assert said in done.stderr
    assert done.stderr.startswith("lab: ")
    assert "Traceback" not in done.stderr
    assert [path.name for path in place.iterdir()] == ["course"]


def test_a_course_is_graded_into_three_files_and_a_summary(place: Path) -> None:
    done = lab("grade", "course", "--seed", "5", cwd=place)
    assert done.returncode == 0, done.stderr
    assert {path.name for path in (place / "outputs").iterdir()} == {"grades.json", "grades.csv", "grades.html"}
    result = grades(place)
    assert statuses(result) == {"<script>": "solved", "ann": "solved", "bob": "wrong"}
    assert (result["seed"], result["schema"], result["folder"]) == (5, 1, "course")
    assert f"3 learners, {len(EXERCISES)} exercises" in done.stdout
    assert "  2 ✓  ex01 Two partials: 1 literal" in done.stdout
    assert "grade course --dtype float32 --device cpu --seed 5" in done.stdout
    assert max(map(len, done.stdout.partition("\nThe page")[0].splitlines())) <= 80
    assert "grading with seed 5" in done.stderr
    assert "3 of 3 learners" in done.stderr
    assert "\x1b" not in done.stdout + done.stderr
    with (place / "outputs" / "grades.csv").open(newline="", encoding="utf-8") as file:
        assert len(list(csv.reader(file))) == 1 + 3 * len(EXERCISES)
    page = (place / "outputs" / "grades.html").read_text("utf-8")
    assert "&lt;script&gt;" in page
    assert "<script" not in page


def test_the_same_seed_gives_the_same_grades_but_for_the_timing(place: Path) -> None:
    results = []
    for _ in range(2):
        done = lab("grade", "course", "--seed", "5", "--json", cwd=place)
        result = json.loads(done.stdout)
        assert result == grades(place)
        assert "3 learners" in done.stderr
        assert result.pop("timing")["continued"] == 0
        results.append(result)
    assert results[0] == results[1]


def test_another_grading_has_other_numbers_which_it_names(place: Path) -> None:
    seeds = [int(re.findall(r"seed (\d+)", lab("grade", "course", cwd=place).stderr)[0]) for _ in range(2)]
    assert seeds[0] != seeds[1] == grades(place)["seed"]


def test_outputs_within_the_folder_are_no_learner(place: Path) -> None:
    for _ in range(2):
        assert lab("grade", ".", cwd=place / "course").returncode == 0
    assert list(statuses(grades(place / "course"))) == ["<script>", "ann", "bob"]


def test_without_a_sandbox_it_says_so_once_or_refuses(place: Path) -> None:
    done = lab("grade", "course", cwd=place, PATH="/nowhere")
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("not isolated: ") == 1
    assert grades(place)["isolated"] is False
    refused = lab("grade", "course", "--require-sandbox", "--outputs", "other", cwd=place, PATH="/nowhere")
    assert refused.returncode == 2
    assert "There is no sandbox" in refused.stderr
    assert not (place / "other").exists()


def test_a_sandbox_that_is_required_and_there_is_used(place: Path) -> None:
    if missing := find_sandbox().missing:
        pytest.skip(f"there is no sandbox: {missing}")
    done = lab("grade", "course", "--require-sandbox", cwd=place)
    assert done.returncode == 0, done.stderr
    assert "not isolated" not in done.stderr
    assert grades(place)["isolated"] is True


def test_outputs_that_cannot_be_written_are_refused_before_the_work(place: Path) -> None:
    (place / "outputs" / "grades.csv").mkdir(parents=True)
    done = lab("grade", "course", cwd=place)
    assert (done.returncode, done.stdout) == (5, "")
    assert "grades.csv" in done.stderr
    assert "learners" not in done.stderr


@pytest.fixture
def small_disk(place: Path) -> Iterator[Callable[[str], None]]:
    """Mount a small disk as the outputs; the test is skipped where that is not allowed."""
    outputs = place / "outputs"
    outputs.mkdir()

    def mount(options: str) -> None:
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(outputs)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"no tmpfs can be mounted here: {done.stderr.strip()}")

    yield mount
    subprocess.run(["umount", str(outputs)], capture_output=True)


def test_a_read_only_disk_is_refused_before_the_work(place: Path, small_disk: Callable[[str], None]) -> None:
    small_disk("size=1m,ro")
    done = lab("grade", "course", cwd=place)
    assert done.returncode == 5
    assert "grading with" not in done.stderr


def test_a_full_disk_keeps_the_grades_of_before(place: Path, small_disk: Callable[[str], None]) -> None:
    small_disk("size=128k")
    assert lab("grade", "course", cwd=place).returncode == 0
    outputs = place / "outputs"
    before = {path.name: path.read_bytes() for path in outputs.iterdir()}
    disk = os.statvfs(outputs)
    room = 2 * disk.f_bsize  # for the journal, which is small, and not for a page
    assert len(before["grades.html"]) > room
    (outputs / "filler").write_bytes(b"x" * (disk.f_bavail * disk.f_bsize - room))
    done = lab("grade", "course", cwd=place)
    assert done.returncode == 5, done.stderr
    assert "No space left" in done.stderr
    assert {name: (outputs / name).read_bytes() for name in before} == before
    assert [path.name for path in outputs.glob(".partial-*")] == []


def wait_for(condition: Callable[[], Any], seconds: float = 60) -> Any:
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.02)
    return value


def judged(place: Path) -> list[dict[str, Any]]:
    """Return the learners in the journal of a grading at work."""
    lines = [line for path in place.glob("outputs/.grading-*.jsonl") for line in path.read_text().split("\n")]
    return [entry for entry in map(json.loads, filter(None, lines)) if "learner" in entry]


@pytest.mark.parametrize(
    ("sent", "code", "limit_s"),
    [(signal.SIGINT, 130, 2.0), (signal.SIGTERM, 143, 5.0), (signal.SIGKILL, -signal.SIGKILL, 2.0)],
    ids=["interrupt", "terminate", "kill"],
)
def test_a_stopped_grading_leaves_no_process_and_is_continued(
    place: Path, sent: signal.Signals, code: int, limit_s: float
) -> None:
    attempt(place, "zoe", ENDLESS)
    command = [*LAB, "grade", "course"]
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with psutil.Popen(command, cwd=place, env=environment(), **streams) as process:
        wait_for(lambda: len(judged(place)) == 3)
        children = process.children(recursive=True)
        assert len(children) >= 3
        start = time.monotonic()
        process.send_signal(sent)
        assert process.wait(timeout=30) == code
        assert time.monotonic() - start < limit_s
        complaint = process.stderr.read().decode()
    wait_for(lambda: not any(child.is_running() and child.status() != psutil.STATUS_ZOMBIE for child in children), 5)
    assert "Traceback" not in complaint
    assert not (place / "outputs" / "grades.json").exists()
    seed = re.findall(r"seed (\d+)", complaint)

    # What is taken from the journal is told from what is judged again by a mark in it.
    (path,) = place.glob("outputs/.grading-*.jsonl")
    path.write_text(path.read_text().replace('"diagnosis": "', '"diagnosis": "from the journal '))
    attempt(place, "zoe", LITERAL)
    done = lab("grade", "course", cwd=place)
    assert done.returncode == 0, done.stderr
    assert "continues where it stopped: 3 attempts" in done.stderr
    result = grades(place)
    assert [str(result["seed"])] == seed
    first = {learner["learner"]: learner["grades"][0]["diagnosis"] for learner in result["learners"]}
    assert [name for name, told in first.items() if told.startswith("from the journal")] == ["<script>", "ann", "bob"]
    assert statuses(result) == {"<script>": "solved", "ann": "solved", "bob": "wrong", "zoe": "wrong"}
    assert {path.name for path in (place / "outputs").iterdir()} == {"grades.json", "grades.csv", "grades.html"}
    assert lab("grade", "course", "--json", cwd=place).stdout.count("from the journal") == 0


def test_two_gradings_at_once_leave_the_files_of_one(place: Path) -> None:
    command = [*LAB, "grade", "course", "--json"]
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    both = [subprocess.Popen(command, cwd=place, env=environment(), **streams) for _ in range(2)]
    results = [json.loads(process.communicate(timeout=110)[0]) for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert grades(place) in results
    assert f"seed {grades(place)['seed']}" in (place / "outputs" / "grades.html").read_text("utf-8")
    assert len(list((place / "outputs").iterdir())) == 3
