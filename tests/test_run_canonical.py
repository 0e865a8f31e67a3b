"""The canonical form: the same for two real runs that showed the same, another where what they showed differs."""

from __future__ import annotations

import copy
import json
import time
from pathlib import Path

import nbformat
import pytest
from fixtures.notebooks import PARAMETERS, write_notebook
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_notebook, new_output

from lab.run import execute_plan, plan_run
from lab.run.canonical import canonical_digest, canonical_notebook
from lab.run.result import RunResult

LESSON = Path(__file__).resolve().parents[1] / "notebooks" / "05_gradients.ipynb"
VARYING = """\
import os, warnings
warnings.warn("look here")
print(object(), print, os.getcwd())
class Thing: pass
Thing()"""


def executed(result: RunResult) -> NotebookNode:
    return nbformat.read(next(result.path.glob("*.ipynb")), as_version=4)


def run_twice(path: Path, outputs: Path) -> tuple[RunResult, RunResult]:
    plan = plan_run(path, {})
    return execute_plan(plan, outputs=outputs), execute_plan(plan, outputs=outputs)


@pytest.fixture(scope="module")
def lessons(tmp_path_factory: pytest.TempPathFactory) -> tuple[RunResult, RunResult]:
    return run_twice(LESSON, tmp_path_factory.mktemp("outputs"))


def test_the_lesson_s_notebook_twice_is_the_same_byte_for_byte(lessons: tuple[RunResult, RunResult]) -> None:
    a, b = map(executed, lessons)
    assert nbformat.writes(a) != nbformat.writes(b)
    assert canonical_notebook(a) == canonical_notebook(b)
    assert len(canonical_notebook(a)) > 100_000


def test_the_record_holds_the_digest(lessons: tuple[RunResult, RunResult]) -> None:
    a, b = lessons
    assert a.record["canonical"] == b.record["canonical"] == canonical_digest(executed(a))


def test_it_takes_a_moment_and_leaves_the_notebook_alone(lessons: tuple[RunResult, RunResult]) -> None:
    notebook = executed(lessons[0])
    before = copy.deepcopy(notebook)
    seconds = []
    for _ in range(10):
        start = time.process_time()
        canonical_digest(notebook)
        seconds.append(time.process_time() - start)
    assert min(seconds) < 0.05  # 7 ms where it was measured
    assert notebook == before


def test_warnings_addresses_and_folders_are_the_same_and_the_time_is_not(tmp_path: Path) -> None:
    path = write_notebook(tmp_path / "nb.ipynb", VARYING, "import time\ntime.time()", parameters=PARAMETERS)
    texts = [canonical_notebook(executed(result)) for result in run_twice(path, tmp_path / "outputs")]
    a, b = (json.loads(text)["cells"] for text in texts)
    assert a[:-1] == b[:-1]
    assert a[-1]["outputs"] != b[-1]["outputs"]
    a[-1]["outputs"] = b[-1]["outputs"] = []
    assert a == b
    shown = "".join(texts)
    for settled in ("/ipykernel_…/", "<object object at 0x…>", "Thing at 0x…", "/…/files"):
        assert settled in shown


def test_a_run_that_fails_is_the_same_twice(tmp_path: Path) -> None:
    path = write_notebook(tmp_path / "nb.ipynb", "x = object()\nraise ValueError(x)", "1")
    a, b = run_twice(path, tmp_path / "outputs")
    assert a.status == b.status == "failed"
    assert a.record["canonical"] == b.record["canonical"]
    assert "<object object at 0x…>" in canonical_notebook(executed(a))


def notebook(*outputs: NotebookNode, **metadata: object) -> NotebookNode:
    return new_notebook(cells=[new_code_cell("1", outputs=list(outputs), metadata=metadata)])


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (new_output("stream", text="0xff"), new_output("stream", text="0xfe")),
        (new_output("stream", text="at 0"), new_output("stream", text="at 1")),
        (new_output("stream", text="a"), new_output("stream", name="stderr", text="a")),
        (new_output("display_data", {"text/plain": "1.0"}), new_output("display_data", {"text/plain": "1.1"})),
        (
            new_output("display_data", {"image/svg+xml": "<svg/>"}),
            new_output("display_data", {"image/svg+xml": "<svg />"}),
        ),
        (new_output("error", ename="A", evalue="b"), new_output("error", ename="A", evalue="c")),
        (new_output("execute_result", execution_count=1), new_output("execute_result", execution_count=2)),
    ],
)
def test_what_was_shown_is_kept(a: NotebookNode, b: NotebookNode) -> None:
    assert canonical_notebook(notebook(a)) == canonical_notebook(notebook(a))
    assert canonical_notebook(notebook(a)) != canonical_notebook(notebook(b))


@pytest.mark.parametrize("metadata", [{"keep_output": False}, {"init_cell": False}, {"tags": ["keep_output"]}], ids=str)
def test_no_metadata_drops_an_output(metadata: dict[str, object]) -> None:
    shown = notebook(new_output("stream", text="shown"), **metadata)
    assert "shown" in canonical_notebook(shown)


def test_a_lone_surrogate_has_a_digest() -> None:
    assert len(canonical_digest(notebook(new_output("stream", text="\udcff")))) == 16
