"""The lesson's three forms come from one source and find the same; every device and dtype gets its gradients right."""

import json
import subprocess
import sys
from pathlib import Path

import nbformat
import papermill
import pytest
from conftest import Place
from fixtures.lessons import performed

from lab.device import DTYPES
from lab.finding import FINDING_MIME
from lab.parameters import validate_parameters
from lab.teach.cells import read_cells
from lab.teach.lessons import Lesson, discover_lessons, find_lesson
from lab.teach.narrate import narrate
from lab.teach.notebook import notebook_from_percent
from lab.teach.perform import perform
from lab.teach.stage import Stage

LESSONS = discover_lessons()
ALL_LESSONS = pytest.mark.parametrize("lesson", LESSONS, ids=lambda lesson: lesson.name)
ROOT = Path(__file__).resolve().parents[1]

# Everything that is neither the standard library, torch and what torch itself needs, nor the lab.
TORCH_ALONE = """
import runpy, sys
sys.modules.update(dict.fromkeys({refused!r}))  # None: Python then says that there is no such module
sys.argv = [{path!r}]
runpy.run_path({path!r}, run_name="__main__")
"""
REFUSED = (
    "matplotlib",
    "rich",
    "pydantic",
    "typer",
    "numpy",
    "jupytext",
    "nbformat",
    "papermill",
    "IPython",
    "filelock",
)


@ALL_LESSONS
def test_the_script_runs_with_torch_alone_and_prints_the_whole_lesson(lesson: Lesson, tmp_path: Path) -> None:
    code = TORCH_ALONE.format(refused=REFUSED, path=str(lesson.source))
    command = [sys.executable, "-W", "ignore:Failed to initialize NumPy", "-c", code]  # torch itself says so
    script = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=True)
    assert script.stderr == ""
    for cell in read_cells(lesson.source):
        assert not cell.markdown or cell.source in script.stdout
    narrated = performed(lesson)
    shown = [line.strip() for line in script.stdout.splitlines() if line.startswith("  ✓")]
    assert len(shown) == len(narrated.comparisons) + len(narrated.claims)
    assert [line for line in shown if " ulp" in line and "autograd" in line] != []
    for comparison in narrated.comparisons:
        assert any(line.startswith(f"✓ {comparison['name']}") for line in shown)
    for statement in narrated.claims:
        assert f"✓ {statement['sentence']}" in shown


@ALL_LESSONS
def test_the_script_stops_quietly_when_its_reader_has_seen_enough(lesson: Lesson) -> None:
    command = f'set -o pipefail; "{sys.executable}" "{lesson.source}" | head -n 3'
    head = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert head.returncode == 0
    assert head.stderr == ""
    assert f"# {lesson.title}" in head.stdout


@ALL_LESSONS
def test_the_notebook_finds_what_the_terminal_finds(lesson: Lesson, tmp_path: Path) -> None:
    given = {"x": -1.5, "y": 0.25, "dtype": "float64"} if lesson.name == "05_gradients" else {}
    path = tmp_path / "lesson.ipynb"
    path.write_text(notebook_from_percent(lesson.source.read_text("utf-8")), encoding="utf-8")
    notebook = papermill.execute_notebook(path, None, parameters=given, progress_bar=False, kernel_name="python3")
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    findings = [output.data[FINDING_MIME] for output in outputs if FINDING_MIME in output.get("data", {})]
    narrated = performed(lesson, **given)
    assert [row for f in findings for row in f.get("comparisons", ())] == narrated.comparisons
    assert [row for f in findings for row in f.get("claims", ())] == narrated.claims
    assert [f["picture"] for f in findings if "picture" in f] == list(narrated.pictures)
    assert [output for output in outputs if output.output_type == "error" or output.get("name") == "stderr"] == []


@ALL_LESSONS
def test_the_notebook_on_disk_is_the_one_its_source_generates(lesson: Lesson) -> None:
    text = notebook_from_percent(lesson.source.read_text("utf-8"))
    assert (ROOT / "notebooks" / f"{lesson.name}.ipynb").read_text("utf-8") == text
    notebook = nbformat.reads(text, as_version=4)
    assert all(cell.outputs == [] and cell.execution_count is None for cell in notebook.cells if "outputs" in cell)


def test_a_picture_is_shown_without_its_code(tmp_path: Path, monkeypatch, capsys) -> None:
    source = tmp_path / "lesson.py"
    source.write_text('# %%\nprint("seen")\n\n# %% tags=["hide-input"]\nprint("run too")\n', encoding="utf-8")
    stage, codes = Stage(), []
    monkeypatch.setattr(stage, "code", codes.append)
    perform(read_cells(source), stage, path=source, parameters={})
    assert codes == ['print("seen")']
    assert capsys.readouterr().out == "seen\nrun too\n"
    shown, folded = nbformat.reads(notebook_from_percent(source.read_text("utf-8")), as_version=4).cells
    assert "jupyter" not in shown.metadata
    assert folded.metadata["jupyter"] == {"source_hidden": True}


@ALL_LESSONS
def test_every_gradient_of_a_lesson_meets_its_reference(lesson: Lesson, place: Place) -> None:
    dtype = str(place.dtype).removeprefix("torch.")
    given = {"device": str(place.device), "dtype": dtype}
    if not given.keys() <= lesson.parameters.keys():
        pytest.skip(f"{lesson.name} has no parameters device and dtype")
    if dtype not in (lesson.parameters["dtype"].choices or (dtype,)):
        pytest.skip(f"{lesson.name} is not taught in {dtype}")
    record = performed(lesson, **given)
    assert {c["verdict"] for c in record.comparisons} == {"pass"}
    assert {c["dtype"] for c in record.comparisons} == {dtype}
    assert all(c["holds"] for c in record.claims)


# Zero, extremes, a cancelling sum (2x + 3x² at -2/3), a subnormal in float16, an overflowing value in float16.
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("x", "y"), [(0, 0), (-100, 100), (-2 / 3, 1e-5), (1e-30, -1e-30), (33.3, -77.7), (-1.5, 0.25)]
)
def test_lesson_05_is_right_wherever_it_may_be_asked(dtype: str, x: float, y: float) -> None:
    lesson = find_lesson("05")
    record = performed(lesson, x=x, y=y, dtype=dtype, seed=3, device="cpu")
    assert {c["verdict"] for c in record.comparisons} == {"pass"}


def test_lesson_05_gives_the_numbers_of_its_source() -> None:
    record = performed(find_lesson("05"), device="cpu")
    values = [c["value"] for c in record.comparisons if "∂v" not in c["name"]]
    assert values == [4, 4, 27, 4, 16, 12, 4]  # 2x; 2x, 3y²; 2x, 2x + 3x², 3x²; c = x²


def test_another_seed_gives_another_linear_function() -> None:
    def coefficients(seed: int) -> list[float]:
        record = performed(find_lesson("05"), seed=seed, device="cpu")
        return [c["value"] for c in record.comparisons if "∂v" in c["name"]]

    assert coefficients(1) == coefficients(1) != coefficients(2)


def test_narrating_publishes_strict_json_and_the_pictures(tmp_path: Path) -> None:
    lesson = find_lesson("05")
    parameters = validate_parameters(lesson.parameters, {"device": "cpu"}, where="test")
    folder, result = narrate(lesson, Stage(), parameters=parameters, outputs=tmp_path)
    written = json.loads((folder / "lesson.json").read_text("utf-8"), parse_constant=pytest.fail)
    assert written == result
    assert sorted(path.name for path in folder.iterdir()) == sorted([*result["pictures"], "lesson.json"])
    assert len(result["pictures"]) == 4
    again, repeated = narrate(lesson, Stage(), parameters=parameters, outputs=tmp_path)
    assert again.name == f"{folder.name}-2"
    assert {**repeated, "timing": None} == {**result, "timing": None}
    assert (tmp_path / f"lesson-{lesson.name}" / "latest").resolve() == again.resolve()


def test_an_unknown_lesson_is_answered_with_those_there_are() -> None:
    with pytest.raises(Exception, match="05_gradients") as caught:
        find_lesson("5_gradient")
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("word", ["", "05", "5", "gradients", "05_gradients"])
def test_a_lesson_is_found_by_number_and_by_name(word: str) -> None:
    assert find_lesson(word).name == "05_gradients"
