"""What the documents say is what there is."""

import json
import re
from pathlib import Path

import pytest

from lab.device import environment
from lab.parameters import validate_parameters
from lab.practise import discover_exercises
from lab.prove.case import Selection
from lab.prove.machines import find_backend
from lab.prove.probes import run_probes
from lab.prove.result import Cause, cells
from lab.prove.verification import Verification
from lab.prove.verify import Target, verify_chunk
from lab.report.verification import publish_verification
from lab.run import run_notebook
from lab.run.index import INDEX, read_runs
from lab.teach.lessons import Lesson, discover_lessons, find_lesson
from lab.teach.narrate import narrate
from lab.teach.stage import Stage

ROOT = Path(__file__).resolve().parents[1]
OUTPUTS = (ROOT / "docs" / "outputs.md").read_text("utf-8")
DOCUMENTS = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("requirements/*.md")]


def documented(heading: str) -> set[str]:
    """Return the fields in the first column of the table below a heading."""
    section = OUTPUTS.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| (`[^|]+) \|", section, re.MULTILINE)
    return {name for row in rows for name in re.findall(r"`([^`]+)`", row)}


def mentioned(heading: str) -> set[str]:
    """Return all that stands in code quotes below a heading."""
    return set(re.findall(r"`([^`]+)`", OUTPUTS.split(f"\n## {heading}\n")[1].split("\n## ")[0]))


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory):
    outputs = tmp_path_factory.mktemp("outputs")
    lesson = find_lesson("")
    parameters = validate_parameters(lesson.parameters, {"device": "cpu"}, where="test")
    folder, lesson_json = narrate(lesson, Stage(), parameters=parameters, outputs=outputs)
    run = run_notebook(ROOT / "notebooks" / f"{lesson.name}.ipynb", {"device": "cpu"}, outputs=outputs)
    return folder, lesson_json, run.record


def test_every_field_of_the_results_is_documented_and_no_other(results) -> None:
    _, lesson_json, run_json = results
    assert set(lesson_json) == documented("In both files") | documented("lesson.json")
    assert set(run_json) == documented("In both files") | documented("run.json")
    assert set(run_json["comparisons"][0]) == documented("A comparison")


def test_every_field_of_verify_json_is_documented_and_no_other(tmp_path: Path) -> None:
    selection, target = Selection(("mul", "mm"), ("float32",), quick=True), Target(backend=find_backend("tf32"))
    chunks = [verify_chunk(chunk, target) for chunk in selection.chunks()]
    (failing,) = [cell for cell in cells(chunks, {}) if cell.verdict.is_failure]
    cause = Cause("product-precision", "a summary", ("evidence",), failing.worst.case)
    found = Verification(
        target,
        selection,
        tuple(run_probes(target)),
        tuple(cells(chunks, {(failing.op, "float32"): cause})),
        environment("cpu"),
    )
    folder = publish_verification(found, tmp_path, "key", seconds=1.0)
    result = json.loads((folder / "verify.json").read_text("utf-8"))
    assert set(result) == documented("verify.json")
    assert {*result["selection"], *result["probes"][0]} <= mentioned("verify.json")
    ours = "An operation in verify.json"
    assert set(result["operations"][0]) == documented(ours)
    operation = next(row for row in result["operations"] if row["cause"])
    parts = (operation["axes"], operation["cause"], operation["worst"], operation["failures"][0])
    assert {name for part in parts for name in part} <= mentioned(ours)


def test_every_field_of_the_index_is_documented_and_no_other(results) -> None:
    folder, _, _ = results
    outputs = folder.parent.parent
    assert [run.status for run in read_runs(outputs)] == ["completed"]
    (line,) = map(json.loads, (outputs / INDEX).read_text("utf-8").splitlines())
    assert set(line) == documented("runs.jsonl")
    assert set(line["summary"]) <= mentioned("runs.jsonl")


def test_lesson_and_notebook_record_the_same(results) -> None:
    _, lesson_json, run_json = results
    same = ("parameters", "lock", "comparisons", "claims", "pictures")
    assert {name: lesson_json[name] for name in same} == {name: run_json[name] for name in same}


def test_the_picture_of_the_readme_is_the_one_that_the_lesson_draws(results) -> None:
    folder, _, _ = results
    assert (ROOT / "docs" / "pictures" / "graph.svg").read_text("utf-8") == (folder / "graph.svg").read_text("utf-8")


def test_the_terminal_excerpt_of_the_readme_is_what_the_lesson_prints(capsys: pytest.CaptureFixture[str]) -> None:
    from lab.teach.perform import perform

    lesson = find_lesson("")
    perform(lesson.cells, Stage(), path=lesson.source, parameters={"device": "cpu"})
    excerpt = next(
        block
        for block in re.findall(r"```\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL)
        if "✓" in block
    )
    assert excerpt in capsys.readouterr().out


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_relative_links_lead_somewhere(document: Path) -> None:
    text = re.sub(r"(?ms)^(`{3,}).*?^\1$", "", document.read_text("utf-8"))  # a text that is shown has its own links
    links = re.findall(r"\]\((?!https?:)([^)#]+)", text)
    assert [link for link in links if not (document.parent / link).exists()] == []


@pytest.mark.parametrize("lesson", discover_lessons(), ids=lambda lesson: lesson.name)
def test_a_lesson_s_text_names_its_exercises_in_order(lesson: Lesson) -> None:
    problems = (
        (lesson.folder / "README.md").read_text("utf-8").partition("## Practice problems")[2].partition("\n## ")[0]
    )
    titles = [exercise.title for exercise in discover_exercises(lesson.folder)]
    assert re.findall(r"^\d+\. \*\*(.+?)\.?\*\*", problems, re.MULTILINE) == titles


def test_the_readme_names_every_target_of_the_makefile() -> None:
    targets = re.findall(r"^([a-z-]+):.*##", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    readme = (ROOT / "README.md").read_text("utf-8")
    assert [target for target in targets if f"make {target}" not in readme] == []
