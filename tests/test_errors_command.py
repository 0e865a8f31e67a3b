"""`lab errors` as a person or a machine meets it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from lab.errors_command import museum_pages
from lab.practise.exhibit import read_labels

ROOT = Path(__file__).resolve().parents[1]
NAMES = [label.name for label in read_labels()]
# In the name or in the words of the message.
LEAVES = ["non-leaf-grad", "moved-leaf", "leaf-in-place", "leaf-view-in-place", "integer-leaf", "freeze-a-result"]


def errors(*words: str, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "lab", "errors", *words]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, env={**os.environ, **env})


def test_the_list_needs_no_torch_and_80_columns(tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("raise SystemExit('torch was imported')", encoding="utf-8")
    for words in ([], [""], ["leaf"]):
        answer = errors(*words, cwd=tmp_path, PYTHONPATH=f"{tmp_path}{os.pathsep}{ROOT}")
        assert answer.returncode == 0
        *rows, _, see = answer.stdout.splitlines()
        assert [row.split()[0] for row in rows] == (LEAVES if words == ["leaf"] else NAMES)
        assert max(map(len, rows)) <= 80
        assert see.endswith(f"errors {rows[0].split()[0]}")
    assert any(row.split()[1] == "silent:" for row in errors(cwd=tmp_path).stdout.splitlines()[:-2])


@pytest.mark.parametrize("words", [["second time"], ["second", "time"], ["freed when you call"]])
def test_words_of_a_message_show_its_exhibit_run_here(words: list[str], tmp_path: Path) -> None:
    answer = errors(*words, cwd=tmp_path, COLUMNS="80")
    assert answer.returncode == 0
    assert answer.stderr == ""
    lines = answer.stdout.splitlines()
    assert lines[:2] == [
        f"second-backward (torch {torch.__version__})",
        "RuntimeError: Trying to backward through the graph a second time (or directly",
    ]
    assert lines[-1] == "The same message: state-carried."
    assert "\x1b" not in answer.stdout
    assert [line for line in lines if len(line) > 80 or line != line.rstrip()] == []


def test_bad_advice_leads_to_the_exhibit_of_its_message(tmp_path: Path) -> None:
    told = errors("leaf-in-place", cwd=tmp_path, COLUMNS="80").stdout
    assert "print(x.grad)  # prints None" in told
    assert told.rstrip().endswith("errors non-leaf-grad")


def test_json_is_the_exhibit_or_the_list(tmp_path: Path) -> None:
    assert [row["name"] for row in json.loads(errors("--json", cwd=tmp_path).stdout)["exhibits"]] == NAMES
    shown = json.loads(errors("data-edit", "--json", cwd=tmp_path).stdout)
    assert shown["torch"] == torch.__version__
    assert shown["shows"]["message"] == ""
    assert shown["shows"]["value"] == [0.0, 0.0]
    assert shown["advice"]["raised"] is True


def test_a_page_of_another_torch_is_not_checked_and_is_replaced(tmp_path: Path) -> None:
    (page,) = museum_pages(tmp_path, check=False).items()
    path, text = page
    assert dict([page]) == museum_pages(tmp_path, check=True)
    path.write_text(text.replace(torch.__version__.partition("+")[0], "2.1.0"), encoding="utf-8")
    assert museum_pages(tmp_path, check=True) == {}
    assert museum_pages(tmp_path, check=False) == {path: text}
    path.write_text("no page at all", encoding="utf-8")
    assert museum_pages(tmp_path, check=True) == {path: text}
