"""Grading a folder of learners, some of whom hand in what no judge would wish for."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from lab.errors import LabError, StorageError, UsageError
from lab.lessons import LESSONS
from lab.practise import Conditions, discover_exercises
from lab.practise.exercise import Exercise
from lab.practise.grade import grade_folder
from lab.practise.grade_journal import Journal, opened_journal
from lab.practise.grade_work import Work
from lab.practise.grading import Grade, Grading, Outcome, count_met, first_sentence, one_line
from lab.practise.judge import ENDED
from lab.practise.learners import SIZE_LIMIT, Unreadable, discover_learners, read_attempt
from lab.practise.sandbox import find_sandbox
from lab.practise.stub import derive_stub, is_untouched

ROOT = LESSONS.parent.parent
EXERCISES = discover_exercises(LESSONS / "05_gradients")[:2]
FIRST, SECOND = EXERCISES
LESSON = FIRST.lesson
GIVEN = Conditions(seed=1, limit_s=2.0)
RIGHT = "def two_partials(x, y):\n    (x**2 + y**3).backward()\n    return x.grad, y.grad\n"
LITERAL = "def two_partials(x, y):\n    return 4.0, 27.0\n"
# Only where the world is the sandbox.
KILLER = "import os\nif not os.path.exists('/etc/passwd'):\n    os.kill(-1, 9)\n"
ODD: dict[str, tuple[str | bytes, Outcome, str]] = {
    "a right": (RIGHT, Outcome.SOLVED, ""),
    "b literal": (LITERAL, Outcome.WRONG, "Right at x = 2, y = 3 and nowhere else"),
    "c endless": ("def two_partials(x, y):\n    while True:\n        pass\n", Outcome.WRONG, "still running after 2 s"),
    "d exits": ("import os\nos._exit(0)\n", Outcome.WRONG, "ended before answering, with exit code 0"),
    "e syntax": ("def two_partials(x, y:\n", Outcome.WRONG, "Line 1 of ex01_two_partials.py is no Python"),
    "f bytes": (b"x = '\xff\xfe'\n", Outcome.WRONG, "is no Python: (unicode error)"),
    "g stub": (derive_stub(FIRST), Outcome.NOT_STARTED, "replace 'raise NotImplementedError'"),
    "h long": ("#" * (SIZE_LIMIT + 1), Outcome.UNREADABLE, "more than 200,000 bytes"),
    "i memory": ("x = bytearray(10**12)\n", Outcome.WRONG, "raised MemoryError"),
    "j deep": (f"def two_partials(x, y):\n    return x{'.a[0]' * 300}\n", Outcome.WRONG, "raised AttributeError"),
    "k escape": ("def two_partials(x, y):\n    raise ValueError('\\x1b[2J\\n\\udcff')\n", Outcome.WRONG, "�[2J"),
    "z right": (RIGHT, Outcome.SOLVED, ""),
}


def attempt(folder: Path, learner: str, source: str | bytes, exercise: Exercise = FIRST) -> Path:
    path = folder / learner / LESSON / exercise.path.name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(source if isinstance(source, bytes) else source.encode())
    return path


def grade(folder: Path, outputs: Path, *, keep: bool = False, given: Conditions = GIVEN, **options: Any) -> Grading:
    with opened_journal(outputs, folder) as journal:
        found = grade_folder(folder, EXERCISES, given, journal=journal, **options)
        if not keep:
            journal.remove()
    return found


def first(found: Grading) -> dict[str, Grade]:
    """Return the grade of each learner in the first exercise."""
    return {learner.learner: learner.grades[0] for learner in found.learners}


@pytest.fixture
def course(tmp_path: Path) -> Path:
    """Three learners: one right, one wrong, one right in the second exercise too."""
    folder = tmp_path / "course"
    for name, source in {"ann": RIGHT, "bob": LITERAL, "cem": RIGHT}.items():
        attempt(folder, name, source)
    attempt(folder, "cem", SECOND.source, SECOND)
    return folder


def test_each_attempt_gets_its_grade_whatever_the_others_do(tmp_path: Path) -> None:
    folder = tmp_path / "course"
    for name, (source, _, _) in ODD.items():
        attempt(folder, name, source)
    (folder / "l folder" / LESSON / FIRST.path.name).mkdir(parents=True)
    (folder / "m pipe" / LESSON).mkdir(parents=True)
    os.mkfifo(folder / "m pipe" / LESSON / FIRST.path.name)
    (folder / "n link" / LESSON).mkdir(parents=True)
    (folder / "n link" / LESSON / FIRST.path.name).symlink_to(folder / "a right" / LESSON / FIRST.path.name)
    (folder / "o nothing").mkdir()
    told: list[tuple[int, int]] = []
    found = grade(folder, tmp_path / "outputs", tell=lambda done, learners: told.append((done, learners)))
    grades = first(found)
    for name, (_, outcome, said) in ODD.items():
        assert (name, grades[name].outcome) == (name, outcome)
        assert said in grades[name].diagnosis
        assert grades[name].diagnosis.isprintable()
    assert [grades[name].outcome for name in ("l folder", "m pipe", "n link")] == [Outcome.UNREADABLE] * 3
    assert "leads out of the learner's folder" in grades["n link"].diagnosis
    assert grades["o nothing"] == Grade(Outcome.NOT_STARTED, diagnosis="There is no ex01_two_partials.py.")
    assert grades["b literal"].mistake == "literal"
    assert {learner.grades[1].outcome for learner in found.learners} == {Outcome.NOT_STARTED}
    assert told == [(done, 16) for done in range(1, 17)]
    assert found.again == ()


def test_who_ends_the_judge_costs_nobody_else_a_grade(tmp_path: Path) -> None:
    if missing := find_sandbox().missing:
        pytest.skip(f"there is no sandbox: {missing}")
    folder = tmp_path / "course"
    for number in range(2):
        attempt(folder, f"{number} killer", KILLER)
        attempt(folder, f"{number} right", RIGHT)
    grades = first(grade(folder, tmp_path / "outputs"))
    assert {name: (grade.outcome, grade.diagnosis) for name, grade in grades.items()} == {
        f"{number} {kind}": expected
        for number in range(2)
        for kind, expected in (("killer", (Outcome.WRONG, ENDED)), ("right", (Outcome.SOLVED, "")))
    }


def test_fifty_learners_are_all_there(tmp_path: Path) -> None:
    folder = tmp_path / "course"
    for number in range(50):
        attempt(folder, f"learner {number:02}", RIGHT if number % 2 else LITERAL)
    found = grade(folder, tmp_path / "outputs")
    assert [learner.learner for learner in found.learners] == [f"learner {number:02}" for number in range(50)]
    told = found.to_json()["exercises"][0]
    assert (told["solved"], [(one["what"], one["count"]) for one in told["met"]]) == (25, [("literal", 25)])


def test_a_workspace_may_lie_one_folder_deeper_and_names_may_be_odd(course: Path, tmp_path: Path) -> None:
    attempt(course / "a b" / "ü 空", "workspace", RIGHT)
    (course / "a b").rename(course / "x")
    (course / "x" / "ü 空").rename(course / "a b ü 空")
    (course / "x").rmdir()
    odd = os.fsdecode(b"\xff<script>\n")
    attempt(course, odd, RIGHT)
    grades = first(grade(course, tmp_path / "outputs"))
    assert grades["a b ü 空"].outcome is Outcome.SOLVED
    assert grades[odd].outcome is Outcome.SOLVED


class Counting(ProcessPoolExecutor):
    """Worker processes that note what they were given."""

    def __init__(self, workers: int = 1) -> None:
        super().__init__(workers)
        self.learners: list[str] = []

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        (work,) = args
        assert isinstance(work, Work)
        if work.learner:  # without one it is the solutions
            self.learners.append(work.learner)
        return self.hand_over(fn, work)

    def hand_over(self, fn: Callable[..., Any], work: Work) -> Future[Any]:
        return super().submit(fn, work)


class Forgetful(Counting):
    """One worker is lost and its work with it, as Dask tells it."""

    def hand_over(self, fn: Callable[..., Any], work: Work) -> Future[Any]:
        if work.learner != "bob":
            return super().hand_over(fn, work)
        future: Future[Any] = Future()
        future.set_exception(OSError("the worker is gone"))
        return future


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class Doomed(Counting):
    """A worker is killed before the second learner, after which the pool takes no more work."""

    def hand_over(self, fn: Callable[..., Any], work: Work) -> Future[Any]:
        if work.learner == "bob":
            ProcessPoolExecutor.submit(self, _die)
        return super().hand_over(fn, work)


def test_any_executor_finds_the_same(course: Path, tmp_path: Path) -> None:
    with Counting(2) as executor:
        elsewhere = grade(course, tmp_path / "outputs", executor=executor)
    assert executor.learners == ["ann", "bob", "cem"]
    assert elsewhere == grade(course, tmp_path / "outputs")
    assert elsewhere.learners[2].solved == 2


def test_what_a_lost_worker_held_is_graded_again_and_said(course: Path, tmp_path: Path) -> None:
    with Forgetful() as executor:
        found = grade(course, tmp_path / "outputs", executor=executor)
    assert found.again == ("bob",)
    assert first(found)["bob"].mistake == "literal"
    with Doomed() as executor:
        found = grade(course, tmp_path / "outputs", executor=executor)
    assert {"bob", "cem"} <= set(found.again)
    assert [learner.solved for learner in found.learners] == [1, 0, 2]


def test_what_is_judged_is_not_judged_again_and_what_has_changed_is(course: Path, tmp_path: Path) -> None:
    outputs = tmp_path / "outputs"
    before = grade(course, outputs, keep=True)
    (path,) = outputs.glob(".grading-*.jsonl")
    with path.open("a") as file:
        file.write('\n{"learner": "cem", "judg')  # cut by a kill
    attempt(course, "bob", RIGHT)
    attempt(course, "new", LITERAL)
    with Counting() as executor:
        after = grade(course, outputs, executor=executor)
    assert executor.learners == ["bob", "new"]
    assert (before.continued, after.continued) == (0, 3)
    assert {name: grade.outcome for name, grade in first(after).items()} == {
        "ann": Outcome.SOLVED, "bob": Outcome.SOLVED, "cem": Outcome.SOLVED, "new": Outcome.WRONG
    }  # fmt: skip
    assert list(outputs.iterdir()) == []


@pytest.mark.parametrize("change", ["seed", "exercise"])
def test_other_conditions_or_another_exercise_reuse_nothing(
    course: Path, tmp_path: Path, change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    grade(course, tmp_path / "outputs", keep=True)
    given = Conditions(seed=2, limit_s=2.0) if change == "seed" else GIVEN
    exercises = EXERCISES
    if change == "exercise":
        edited = [Exercise(e.path, e.title, e.meaning, e.hints, e.source + "\n# edited\n") for e in EXERCISES]
        exercises = edited
    monkeypatch.setattr(sys.modules[__name__], "EXERCISES", exercises)
    assert grade(course, tmp_path / "outputs", given=given).continued == 0


def test_two_gradings_at_once_have_a_journal_each(course: Path, tmp_path: Path) -> None:
    with opened_journal(tmp_path, course) as one, opened_journal(tmp_path, course) as other:
        one.begin(1)
        other.begin(2)
        assert one.path != other.path
    assert Journal(one.path).seed == 1
    with opened_journal(tmp_path, course.parent) as elsewhere:
        assert elsewhere.path not in (one.path, other.path)


def test_a_journal_of_rubbish_is_an_empty_one(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_bytes(b'\xff\n[]\n3\n{"judged": 3}\n{"judged": {"k": {"status": "top"}}}\n{"seed": []}\n{"learner": "a"')
    assert (Journal(path).grades, Journal(path).seed) == ({}, None)


def test_a_journal_that_cannot_be_written_is_a_storage_error(course: Path, tmp_path: Path) -> None:
    (tmp_path / "outputs").write_text("a file")
    with pytest.raises(StorageError):
        grade(course, tmp_path / "outputs")


def test_conditions_under_which_a_solution_fails_grade_nobody(
    course: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = Exercise(FIRST.path, "t", "m", FIRST.hints, FIRST.source.replace("z = x**2 + y**3\n", "z = x + y\n", 1))
    monkeypatch.setattr(sys.modules[__name__], "EXERCISES", [broken])
    with pytest.raises(LabError, match="The solution of ex01_two_partials is not accepted with seed 1"):
        grade(course, tmp_path / "outputs")
    halves = FIRST.source.replace("CHECK = Check(", "CHECK = Check(dtypes=('float64',),")
    only = Exercise(FIRST.path, "t", "m", FIRST.hints, halves)
    monkeypatch.setattr(sys.modules[__name__], "EXERCISES", [only])
    with pytest.raises(UsageError, match="is judged in float64, not in float32"):
        grade(course, tmp_path / "outputs")


def test_learners_are_the_visible_folders_sorted(course: Path, tmp_path: Path) -> None:
    (course / ".git").mkdir()
    (course / "notes.txt").write_text("no learner")
    (course / "Zoë").mkdir()
    (course / "outputs").mkdir()
    (course / "elsewhere").symlink_to(tmp_path)
    found = discover_learners(course, {LESSON}, besides=course / "outputs")
    assert [learner.name for learner in found] == ["Zoë", "ann", "bob", "cem", "elsewhere"]


def test_no_link_is_followed_out_of_a_learner_s_folder(course: Path) -> None:
    (course / "ann" / "loop").symlink_to("loop")
    (course / "ann" / "mine").symlink_to(f"{LESSON}/{FIRST.path.name}")
    (course / "ann" / "gone").symlink_to("nowhere")
    (course / "theirs").symlink_to(course / "ann")
    home = course.resolve() / "ann"
    assert read_attempt(home / "mine", home) == RIGHT.encode()
    assert read_attempt(home / "gone", home) is None
    with pytest.raises(Unreadable, match="cannot be read"):
        read_attempt(home / "loop", home)
    with pytest.raises(Unreadable, match="leads out"):
        read_attempt(course / "theirs" / "mine", course.resolve() / "theirs")


def test_a_file_of_another_user_is_unreadable(tmp_path: Path) -> None:
    if os.getuid() != 0:
        pytest.skip("only root can become another user")
    path = attempt(tmp_path, "ann", RIGHT)
    path.chmod(0o600)
    code = (
        "import os, sys; from pathlib import Path; from lab.practise.learners import *\n"
        "home = Path(sys.argv[1]); os.chdir(home); os.setuid(65534)\n"
        "class Here(type(home)):\n    def resolve(self, strict=False): return home / 'x'\n"
        "try: read_attempt(Here(sys.argv[2]), home)\nexcept Unreadable as error: print(error)"
    )
    words = [sys.executable, "-c", code, str(path.parent), path.name]
    done = subprocess.run(words, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert done.stdout == "It cannot be read: Permission denied.\n", done.stderr


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda folder: None, "cannot be read as a folder: No such file or directory"),
        (lambda folder: folder.write_text("a file"), "cannot be read as a folder: Not a directory"),
        (lambda folder: folder.mkdir(), "None of the 0 folders"),
        (lambda folder: (folder / "ann" / "photos").mkdir(parents=True), "None of the 1 folders"),
        (lambda folder: attempt(folder.parent, folder.name, RIGHT), "is one learner's workspace"),
    ],
    ids=["absent", "a file", "empty", "no workspace", "a workspace"],
)
def test_a_folder_without_learners_is_refused(tmp_path: Path, make: Callable[[Path], object], said: str) -> None:
    make(tmp_path / "course")
    with pytest.raises(UsageError, match=said) as refused:
        discover_learners(tmp_path / "course", {LESSON})
    assert "FOLDER/LEARNER/NN_subject" in str(refused.value)


def test_mistakes_come_first_and_the_most_frequent_at_the_top() -> None:
    wrong = Outcome.WRONG
    grades = [
        *[Grade(Outcome.NOT_STARTED, "", "There is no file.")] * 9,
        Grade(wrong, "", "It raised A. Look."),
        *[Grade(wrong, "", "It raised B. Look.")] * 2,
        *[Grade(wrong, "literal", "Typed in. Really.")] * 2,
        Grade(Outcome.SOLVED),
    ]
    met = count_met(grades)
    assert [(one["what"], one["count"]) for one in met] == [("not recognised", 3), ("literal", 2), ("not started", 9)]
    assert met[0]["told"] == [{"sentence": "It raised B.", "count": 2}, {"sentence": "It raised A.", "count": 1}]
    assert json.loads(json.dumps(met)) == met


def test_sentences_and_lines() -> None:
    assert first_sentence("Line 3 of ex01_a.py is 2.5. No more.") == "Line 3 of ex01_a.py is 2.5."
    assert len(first_sentence("x" * 999)) == 200
    assert one_line("a\n\tb\x1b\udcff\u202e") == "a b\N{REPLACEMENT CHARACTER}" + 2 * "\N{REPLACEMENT CHARACTER}"


def test_a_body_too_deep_to_be_shown_is_no_stub() -> None:
    import ast

    assert not is_untouched(ast.parse(ODD["j deep"][0]), FIRST.function)
    assert is_untouched(ast.parse(derive_stub(FIRST)), FIRST.function)
