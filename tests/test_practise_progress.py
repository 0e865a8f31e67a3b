"""Progress: events that are only added, and what follows from them."""

import json
import threading

import pytest

from lab.errors import StorageError
from lab.lessons import LESSONS
from lab.practise import Judgement, Status, discover_exercises
from lab.practise.progress import (
    Progress,
    merge_progress,
    progress_path,
    read_progress,
    record,
    record_judgement,
)

EXERCISE = discover_exercises(next(LESSONS.glob("05_*")))[0]


def judged(status, *, mistake="", step=1):
    return Judgement(EXERCISE.id, EXERCISE.title, status, "told", 0, mistake=mistake, step=step)


def test_nothing_is_known_at_first(tmp_path):
    progress = read_progress(EXERCISE, tmp_path)
    assert progress == Progress(EXERCISE.id)
    assert (progress.solved, progress.gave_up, progress.next_hint) == (False, False, 1)


def test_what_was_judged_adds_up(tmp_path):
    record_judgement(EXERCISE, tmp_path, judged(Status.NOT_STARTED), "stub")
    record_judgement(EXERCISE, tmp_path, judged(Status.WRONG, mistake="swapped", step=3), "one")
    record_judgement(EXERCISE, tmp_path, judged(Status.WRONG, mistake="swapped", step=3), "one")
    record_judgement(EXERCISE, tmp_path, judged(Status.WRONG, mistake="swapped", step=3), "two")
    progress = read_progress(EXERCISE, tmp_path)
    assert [event["text"] for event in progress.events] == ["one", "two"]
    assert (progress.solved, progress.next_hint) == (False, 3)
    record_judgement(EXERCISE, tmp_path, judged(Status.SOLVED), "three")
    record_judgement(EXERCISE, tmp_path, judged(Status.WRONG), "four")
    assert read_progress(EXERCISE, tmp_path).solved  # once is for ever


def test_hints_go_one_step_further_and_stop_at_the_last(tmp_path):
    steps = []
    for _ in range(5):
        steps.append(read_progress(EXERCISE, tmp_path).next_hint)
        record(EXERCISE, tmp_path, "hint", step=steps[-1])
    assert steps == [1, 2, 3, 4, 4]


def test_many_at_once_lose_nothing(tmp_path):
    threads = [
        threading.Thread(target=record, args=(EXERCISE, tmp_path, "hint"), kwargs={"step": n}) for n in range(20)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(event["step"] for event in read_progress(EXERCISE, tmp_path).events) == list(range(20))


def test_two_copies_are_merged_by_taking_the_events_of_both(tmp_path):
    here, there = tmp_path / "here", tmp_path / "there"
    record(EXERCISE, here, "hint", step=1)
    record(EXERCISE, there, "hint", step=2)
    record(EXERCISE, here, "gave up")
    assert [merge_progress(EXERCISE, here, there), merge_progress(EXERCISE, there, here)] == [1, 2]
    assert read_progress(EXERCISE, here) == read_progress(EXERCISE, there)
    assert [event["what"] for event in read_progress(EXERCISE, here).events] == ["hint", "hint", "gave up"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        '{"schema": 2, "events": []}',
        '{"schema": 1, "events": [{}]}',
        "[" * 100_000,
        '{"schema": 1, "events": [{"at": "2", "what": "hint", "step": null}]}',
    ],
)
def test_what_cannot_be_read_is_neither_used_nor_overwritten(tmp_path, text):
    path = progress_path(EXERCISE, tmp_path)
    path.parent.mkdir(parents=True)
    path.write_text(text)
    with pytest.raises(StorageError, match="Move the file away"):
        record(EXERCISE, tmp_path, "gave up")
    assert path.read_text() == text


def test_the_file_is_plain_json_for_its_owner_alone(tmp_path):
    record(EXERCISE, tmp_path, "reset", backup="x.bak1")
    path = progress_path(EXERCISE, tmp_path)
    data = json.loads(path.read_text())
    assert (data["schema"], data["exercise"], data["events"][0]["backup"]) == (1, EXERCISE.id, "x.bak1")
    assert path.stat().st_mode & 0o777 == 0o600
    assert [entry.name for entry in path.parent.iterdir() if entry.name != ".lock"] == [path.name]
