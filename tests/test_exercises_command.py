"""`lab exercises` as it is typed: the loop of judging, hints, solutions and predictions, and what is kept of it."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).resolve().parents[1]
LAB = [sys.executable, "-m", "lab"]
RIGHT = "(x**2 + y**3).backward()\n    return x.grad, y.grad"


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "80", "NO_COLOR": "1", **more}


class Learner:
    """Somebody who types commands in a folder and edits the first exercise."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "workspace" / "05_gradients" / "ex01_two_partials.py"

    def types(self, *words: str, says: str = "") -> subprocess.CompletedProcess[str]:
        command = [*LAB, "exercises", *words]
        return subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=100,
            env=environment(),
            cwd=self.folder,
            input=says,
            check=False,
        )

    def writes(self, body: str) -> None:
        if not self.file.exists():
            self.types()
        stub = self.file.read_text("utf-8")
        head = stub[: stub.rindex('"""') + 3]  # to the end of the docstring
        self.file.write_text(f"{head}\n    {body}\n", encoding="utf-8")

    def events(self) -> list[dict[str, object]]:
        path = self.file.parent / "progress" / f"{self.file.stem}.json"
        return json.loads(path.read_text("utf-8"))["events"] if path.exists() else []


@pytest.fixture
def learner(tmp_path: Path) -> Learner:
    return Learner(tmp_path)


def test_exercises_are_told_apart_and_judged_as_the_learner_goes(learner: Learner) -> None:
    def statuses() -> list[str]:
        return [e["status"] for e in json.loads(learner.types("--json").stdout)["exercises"]]

    assert set(statuses()) == {"not started"}
    stub = learner.file.read_text("utf-8")
    learner.file.write_text(stub.replace("raise NotImplementedError", "return 4., 27."), encoding="utf-8")
    told = learner.types("--seed", "1").stdout
    readme = (ROOT / "README.md").read_text("utf-8")
    excerpt = next(block for block in readme.split("```\n") if block.startswith("Two partials: wrong"))
    assert excerpt in "\n".join(line.rstrip() for line in told.splitlines())
    assert statuses() == ["wrong"] + ["not started"] * (len(statuses()) - 1)
    answer = stub.replace("raise NotImplementedError", RIGHT)
    learner.file.write_text(answer, encoding="utf-8")
    assert statuses() == ["solved"] + ["not started"] * (len(statuses()) - 1)
    assert learner.file.read_text("utf-8") == answer


def test_the_reference_solutions_are_judged_for_ci(learner: Learner) -> None:
    answer = learner.types("--solutions", "--seed", "5")
    assert answer.returncode == 0
    solved, of = re.search(r"(\d+)/(\d+) solved", answer.stdout).groups()
    assert solved == of
    assert not (learner.folder / "workspace").exists()


def test_one_attempt_is_judged_and_the_exit_code_says_how(learner: Learner) -> None:
    first = learner.types("check")
    assert (first.returncode, "not started" in first.stdout) == (1, True)
    learner.writes("return 4., 27.")
    wrong = learner.types("check", "1", "--seed", "3", "--json")
    assert wrong.returncode == 1
    assert json.loads(wrong.stdout)["mistake"] == "literal"
    again = re.search(r"exercises check ex01 --lesson 05 .*--seed 3", " ".join(wrong.stderr.split()))[0]
    assert learner.types(*again.split()[1:]).stdout == wrong.stderr.partition("Your code")[0]
    learner.writes(RIGHT)
    assert learner.types("check", "ex01_two_partials").returncode == 0


def test_what_was_tried_is_kept_for_the_learner_alone(learner: Learner) -> None:
    learner.writes("return 4., 27.")
    learner.types("check", "ex01")
    learner.types("check", "ex01")
    learner.writes(RIGHT)
    learner.types("check", "ex01")
    events = learner.events()
    assert [(event["what"], event["status"], event["mistake"]) for event in events] == [
        ("judged", "wrong", "literal"),
        ("judged", "solved", ""),
    ]
    assert "return 4., 27." in str(events[0]["text"])
    (kept,) = learner.file.parent.glob("progress/*.json")
    assert kept.stat().st_mode & 0o077 == 0


def test_what_an_attempt_prints_cannot_command_the_terminal(learner: Learner) -> None:
    learner.writes("print('\\x1b[2J\\x07hello')\n    return 1., 1.")
    told = learner.types().stdout
    assert "hello" in told
    assert "\x1b" not in told
    assert "\x07" not in told


def test_hints_lead_from_a_question_to_the_solution(learner: Learner) -> None:
    hints = [learner.types("hint", "ex01", str(step)).stdout for step in (1, 2, 3, 4)]
    assert "?" in hints[0]
    assert "z.backward()" in hints[3]
    assert not any("z.backward()" in hint for hint in hints[:3])


def test_hints_go_on_by_themselves_from_where_the_mistake_starts(learner: Learner) -> None:
    def steps() -> list[str]:
        return [re.search(r"hint (\d) of 4", learner.types("hint", "ex01").stdout)[1] for _ in range(3)]

    assert steps() == ["1", "2", "3"]
    learner.writes("z = x**2 + y**3; z.backward()\n    return y.grad, x.grad")
    assert "Hint 3 of 4" in learner.types("check", "ex01").stdout
    assert steps() == ["3", "4", "4"]
    learner.writes(RIGHT)
    learner.types("check", "ex01")
    assert steps()[0] == "1"  # still open once solved


def test_the_solution_opens_once_it_is_solved_or_given_up(learner: Learner) -> None:
    shut = learner.types("solution", "ex01")
    assert shut.returncode == 2
    assert "z.backward()" not in shut.stdout + shut.stderr
    learner.writes("return x.grad  # mine")
    given_up = learner.types("solution", "ex01", "--give-up").stdout
    assert given_up.index("return x.grad  # mine") < given_up.index("z.backward()") < given_up.index("makes training")
    assert learner.types("solution", "ex01").returncode == 0  # once is enough


def test_a_solved_exercise_shows_both_answers_side_by_side(learner: Learner) -> None:
    learner.writes(RIGHT)
    learner.types("check", "ex01")
    env = environment(COLUMNS="160")
    command = [*LAB, "exercises", "solution", "ex01"]
    told = subprocess.run(command, capture_output=True, text=True, env=env, cwd=learner.folder, check=True).stdout
    assert re.search(r"\(x\*\*2 \+ y\*\*3\)\.backward\(\) +z = x\*\*2 \+ y\*\*3", told)


def test_a_reset_keeps_what_was_there(learner: Learner) -> None:
    learner.writes("return 4., 27.")
    first = learner.file.read_text("utf-8")
    learner.types("reset", "ex01")
    assert "raise NotImplementedError" in learner.file.read_text("utf-8")
    learner.writes("return 5., 28.")
    second = learner.file.read_text("utf-8")
    told = learner.types("reset", "ex01").stdout
    assert "ex01_two_partials.py.bak2" in told
    backups = sorted(learner.file.parent.glob("*.bak*"))
    assert [path.read_text("utf-8") for path in backups] == [first, second]


def test_progress_of_another_workspace_is_taken_over_once(
    learner: Learner, tmp_path_factory: pytest.TempPathFactory
) -> None:
    elsewhere = Learner(tmp_path_factory.mktemp("elsewhere"))
    elsewhere.writes(RIGHT)
    elsewhere.types("check", "ex01")
    learner.writes("return 4., 27.")
    learner.types("check", "ex01")
    other = str(elsewhere.folder / "workspace")
    assert learner.types("merge", other).stdout == "1 events are new here.\n"
    assert learner.types("merge", other).stdout == "0 events are new here.\n"
    assert {event["status"] for event in learner.events()} == {"wrong", "solved"}
    assert learner.types("solution", "ex01").returncode == 0


def test_progress_that_cannot_be_read_is_said_and_nothing_is_lost(learner: Learner) -> None:
    learner.writes(RIGHT)
    learner.types("check", "ex01")
    (kept,) = learner.file.parent.glob("progress/*.json")
    kept.write_text("{broken", encoding="utf-8")
    told = learner.types("check", "ex01")
    assert told.returncode == 0  # judged all the same
    assert "Progress was not kept. Could not read the progress in" in told.stderr
    assert kept.read_text("utf-8") == "{broken"
    assert learner.types("hint", "ex01").returncode == 5


def test_a_workspace_that_cannot_be_written_is_an_error_of_its_own(learner: Learner) -> None:
    (learner.folder / "workspace").write_text("a file")
    told = learner.types()
    assert told.returncode == 5
    assert "Traceback" not in told.stderr


def test_a_prediction_is_compared_with_the_truth_and_kept(learner: Learner) -> None:
    told = learner.types("predict", says="nonsense(\n1e6\nnan\n")
    assert told.returncode == 0
    assert "What does this return?" in told.stdout
    assert "Expected a number" in told.stdout
    assert "You said 1e+06; it " in told.stdout
    kept = [json.loads(path.read_text("utf-8")) for path in learner.file.parent.glob("progress/*.json")]
    (event,) = (event for each in kept for event in each["events"])
    assert (event["what"], event["said"], event["right"]) == ("predicted", "1e+06", False)
    nobody = learner.types("predict")
    assert nobody.returncode == 0
    assert "Nobody answers" in nobody.stdout


@pytest.fixture
def watched(learner: Learner) -> Iterator[tuple[Learner, subprocess.Popen[bytes], int]]:
    """A learner, and `lab exercises watch` in a terminal of its own."""
    ours, theirs = pty.openpty()
    command = [*LAB, "exercises", "watch", "--seed", "1"]
    with subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment(TERM="xterm"), cwd=learner.folder
    ) as process:
        os.close(theirs)
        yield learner, process, ours
        process.kill()
    os.close(ours)


def read_until(terminal: int, words: str, seconds: float = 60) -> str:
    seen, deadline = "", time.monotonic() + seconds
    while words not in seen.replace("\r\n", " "):
        assert time.monotonic() < deadline, f"{words!r} did not come: {seen}"
        if select.select([terminal], [], [], 0.1)[0]:
            seen += os.read(terminal, 1 << 16).decode("utf-8", "replace")
    return seen


def test_watch_judges_what_is_saved_until_it_is_interrupted(
    watched: tuple[Learner, subprocess.Popen[bytes], int],
) -> None:
    learner, process, terminal = watched
    read_until(terminal, "Save a file to have it judged")
    time.sleep(1.5)  # the warm process imports torch meanwhile
    learner.writes("return 4., 27.")
    told = read_until(terminal, "solved. Save a file")
    assert "Right at x = 2, y = 3 and nowhere else" in told
    assert told.startswith("\x1b[2J") or "\x1b[H" in told  # the screen is cleared
    learner.writes("print('x' * 100 * 1000)\n    return 4., 27.")
    assert len(read_until(terminal, "solved. Save a file")) < 20_000
    learner.file.write_text("def two_partials(x, y:\n", encoding="utf-8")
    assert "is no Python" in read_until(terminal, "solved. Save a file")
    learner.file.unlink()
    learner.types()  # writes the stub again
    read_until(terminal, "not started")
    learner.writes(RIGHT)
    told = read_until(terminal, "1/")
    assert "Two partials: solved" in told
    assert "Next: Accumulate and zero." in told
    children = psutil.Process(process.pid).children(recursive=True)
    assert children
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=5) == 0
    psutil.wait_procs(children, timeout=5)
    assert not [child for child in children if child.is_running()]
