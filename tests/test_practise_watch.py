"""Watching files: every save is seen, soon, and once."""

import os
import threading
import time

import pytest

from lab.lessons import LESSONS
from lab.practise import attempt_path, discover_exercises, prepare_workspace
from lab.practise.watch import Watch

EXERCISES = discover_exercises(next(LESSONS.glob("05_*")))[:3]


@pytest.fixture
def workspace(tmp_path):
    prepare_workspace(EXERCISES, tmp_path)
    return tmp_path


def seen_after(watch, action):
    timer = threading.Timer(0.2, action)
    timer.start()
    found = watch.wait()
    timer.join()
    return [exercise.id for exercise in found]


def test_two_saves_within_a_second_are_seen_both(workspace):
    watch, path = Watch(EXERCISES, workspace), attempt_path(EXERCISES[1], workspace)
    assert seen_after(watch, lambda: path.write_text("x = 1")) == [EXERCISES[1].id]
    assert seen_after(watch, lambda: path.write_text("x = 2")) == [EXERCISES[1].id]


def test_what_was_saved_before_it_is_asked_is_seen(workspace):
    watch = Watch(EXERCISES, workspace)
    attempt_path(EXERCISES[0], workspace).write_text("x = 1")
    assert [exercise.id for exercise in watch.wait()] == [EXERCISES[0].id]


def test_an_editor_that_replaces_the_file_and_one_that_removes_it_are_seen(workspace):
    watch, path = Watch(EXERCISES, workspace), attempt_path(EXERCISES[2], workspace)

    def replace():
        new = path.with_name("new")
        new.write_bytes(path.read_bytes())
        os.utime(new, ns=(path.stat().st_mtime_ns, path.stat().st_mtime_ns))
        new.replace(path)

    assert seen_after(watch, replace) == [EXERCISES[2].id]
    assert seen_after(watch, path.unlink) == [EXERCISES[2].id]


def test_what_is_no_attempt_is_not_seen(workspace):
    watch = Watch(EXERCISES, workspace)
    attempt_path(EXERCISES[0], workspace).with_name("notes.py").write_text("mine")
    assert seen_after(watch, watch.stop.set) == []


def test_a_file_that_is_written_in_steps_is_seen_once(workspace, monkeypatch):
    monkeypatch.setattr("lab.practise.watch._SETTLED_S", 1.0)  # longer than a busy machine lets a step take
    watch, path = Watch(EXERCISES, workspace), attempt_path(EXERCISES[0], workspace)

    def write_slowly():
        with path.open("w") as file:
            for number in range(20):
                print(f"x{number} = {number}", file=file, flush=True)
                time.sleep(0.01)

    thread = threading.Thread(target=write_slowly)
    thread.start()
    watch.wait()
    thread.join()
    assert "x19" in path.read_text()
    assert seen_after(watch, watch.stop.set) == []
