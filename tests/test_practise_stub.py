"""The learner's files."""

import ast
import os

import pytest

from lab.errors import StorageError
from lab.lessons import LESSONS
from lab.practise import attempt_path, discover_exercises, prepare_workspace
from lab.practise.stub import derive_stub, is_untouched

EXERCISES = discover_exercises(LESSONS / "05_gradients")
STUB = '''"""Compute without recording.

Replace `raise NotImplementedError`, then type `make exercises LESSON=05`.
"""

from collections.abc import Callable

import torch
from torch import Tensor


def untracked(f: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Return f(x), with nothing recorded while it is computed.
'''


def test_the_stub_keeps_imports_signature_and_docstring():
    stub = derive_stub(EXERCISES[2])
    assert stub.startswith(STUB)
    assert stub.endswith('    tracked.\n    """\n    raise NotImplementedError\n')


def test_stubs_are_written_once(tmp_path):
    paths = [attempt_path(exercise, tmp_path) for exercise in EXERCISES]
    assert prepare_workspace(EXERCISES, tmp_path) == paths
    assert [path.read_text() for path in paths] == [derive_stub(exercise) for exercise in EXERCISES]
    paths[0].write_text("mine")
    paths[1].unlink()
    assert prepare_workspace(EXERCISES, tmp_path) == [paths[1]]
    assert paths[0].read_text() == "mine"


def test_nothing_but_stubs_is_left(tmp_path):
    prepare_workspace(EXERCISES, tmp_path)
    written = {path.name for path in (tmp_path / "05_gradients").iterdir()}
    assert written == {exercise.path.name for exercise in EXERCISES}


def test_a_file_that_appears_meanwhile_is_kept(tmp_path, monkeypatch):
    link = os.link

    def late(source, target):
        target.write_text("mine")
        link(source, target)

    monkeypatch.setattr("os.link", late)
    assert prepare_workspace(EXERCISES[:1], tmp_path) == []
    assert attempt_path(EXERCISES[0], tmp_path).read_text() == "mine"


def test_a_file_system_without_hard_links_will_do(tmp_path, monkeypatch):
    def refuse(source, target):
        raise PermissionError(1, "Operation not permitted", str(target))

    monkeypatch.setattr("os.link", refuse)
    assert len(prepare_workspace(EXERCISES, tmp_path)) == len(EXERCISES)
    assert attempt_path(EXERCISES[0], tmp_path).read_text() == derive_stub(EXERCISES[0])


def test_a_workspace_that_cannot_be_written_is_a_storage_error(tmp_path):
    (tmp_path / "workspace").write_text("a file")
    with pytest.raises(StorageError, match="Could not write"):
        prepare_workspace(EXERCISES, tmp_path / "workspace")


@pytest.mark.parametrize(
    ("source", "untouched"),
    [
        ("def f(x):\n    raise NotImplementedError", True),
        ("def f(x):\n    '''Doc.'''\n    raise NotImplementedError  # a comment", True),
        ("import torch\ndef g():\n    return 1\ndef f(x):\n    raise NotImplementedError", True),
        ("def f(x):\n    x = 1\n    raise NotImplementedError", False),
        ("def f(x):\n    '''Doc.'''", False),
        ("def g(x):\n    raise NotImplementedError", False),
        ("def f(x):\n    raise NotImplementedError\ndef f(x):\n    return x", False),
    ],
)
def test_untouched_is_told_by_the_text(source, untouched):
    assert is_untouched(ast.parse(source), "f") is untouched
