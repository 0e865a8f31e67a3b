"""A lesson that fails is published as far as it came, and its error says where."""

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from lab.errors import ExecutionError, LabError
from lab.teach.lessons import Lesson
from lab.teach.narrate import narrate
from lab.teach.stage import Stage
from lab.teach.terminal import TerminalStage

HEAD = """\
# %% [markdown]
# # A toy
#
# with `code`

# %%
import torch
from lab.teach.show import check_gradient, claim, picture
x = torch.tensor(3.0, requires_grad=True)
(x * 2).backward()
check_gradient("slope", x.grad, 2)
picture("dot", "<svg/>")
"""


def toy(folder: Path, end: str) -> Lesson:
    lesson = Lesson(folder / "07_toy")
    lesson.folder.mkdir()
    lesson.source.write_text(HEAD + end, encoding="utf-8")
    return lesson


@pytest.mark.parametrize(
    ("end", "kind", "message"),
    [
        ('claim("two is odd", False)', LabError, "two is odd"),
        ('check_gradient("wrong", x.grad, 3)', LabError, "wrong misses"),
        (
            'raise RuntimeError("CUDA out of memory")',
            ExecutionError,
            "line 13, raised RuntimeError: CUDA out of memory",
        ),
    ],
)
def test_what_a_failed_lesson_found_is_published(tmp_path: Path, end: str, kind: type[LabError], message: str) -> None:
    with pytest.raises(kind, match=message) as error:
        narrate(toy(tmp_path, end), Stage(), parameters={}, outputs=tmp_path / "outputs")
    folder = Path(error.value.__notes__[0].partition(": ")[2])
    record = json.loads((folder / "lesson.json").read_text("utf-8"))
    assert record["status"] == "failed"
    assert message.split(":")[0] in record["error"]["message"]
    assert record["comparisons"][0]["verdict"] == "pass"
    assert (folder / "dot.svg").read_text("utf-8") == "<svg/>"


def test_a_lesson_without_parameters_is_performed(tmp_path: Path) -> None:
    _, record = narrate(toy(tmp_path, ""), Stage(), parameters={}, outputs=tmp_path / "outputs")
    assert (record["status"], record["error"], record["parameters"]) == ("completed", None, {})


@pytest.mark.parametrize("coloured", [True, False])
def test_the_terminal_is_coloured_unless_it_may_not_be(
    tmp_path: Path, coloured: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    if not coloured:
        monkeypatch.setenv("NO_COLOR", "1")
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, color_system="truecolor", width=80)
    narrate(toy(tmp_path, ""), TerminalStage(console), parameters={}, outputs=tmp_path / "outputs")
    assert ("\x1b[32m  ✓ slope" in out.getvalue()) == coloured
    assert "✓ slope" in out.getvalue()
