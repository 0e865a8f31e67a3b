"""docs/authoring.md, followed to the letter in a copy of the checkout: its files, its commands, its tests."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "authoring.md").read_text("utf-8")
# A block, and the name of the file before it.
BLOCK = re.compile(
    r"^(?:`(?P<path>\S+)`:\n\n)?(?P<fence>`{3,4})(?P<language>\w+)\n(?P<body>.*?)^(?P=fence)$", re.M | re.S
)
FILES = {block["path"]: block["body"] for block in BLOCK.finditer(PAGE) if block["path"]}
COMMANDS = [line for b in BLOCK.finditer(PAGE) if b["language"] == "sh" for line in b["body"].splitlines()]
# The environment of the checkout takes the place of the copy's own .venv, as in an image for editors.
BIN = Path(sys.executable).parent


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    copy = tmp_path_factory.mktemp("checkout")
    for name in ("lab", "notebooks", "tests", "docs"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for path in ROOT.iterdir():
        if path.is_file():
            shutil.copy(path, copy)
    (copy / ".venv").mkdir()
    (copy / ".venv" / "bin").symlink_to(BIN)
    for path, text in FILES.items():
        target = copy / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
    return copy


def types(command: str, folder: Path) -> str:
    """Type a command in a folder and return what it prints. Raises: AssertionError with that, where it fails."""
    # Neither pytest nor make is to take itself for a part of the one that runs this test, nor to be told its words.
    ours = ("PYTEST_", "MAKE", "MFLAGS", "ARGS")
    inherited = {name: word for name, word in os.environ.items() if not name.startswith(ours)}
    environment = {**inherited, "PYTHONPATH": str(folder), "LAB_BIN": str(BIN), "COLUMNS": "80"}
    answer = subprocess.run(command, shell=True, cwd=folder, env=environment, capture_output=True, text=True)
    assert answer.returncode == 0, f"{command}\n{answer.stdout}\n{answer.stderr}"
    return answer.stdout


@pytest.mark.timeout(400)
def test_the_page_makes_a_lesson_by_adding_a_folder(checkout: Path) -> None:
    assert sorted(FILES) == [
        "lab/lessons/07_product/README.md",
        "lab/lessons/07_product/exercises/ex01_slope_of_product.py",
        "lab/lessons/07_product/lesson.py",
        "tests/answers/ex01_slope_of_product.py",
    ]
    said = {command: types(command, checkout) for command in COMMANDS}
    assert len(said) == 5
    assert (checkout / "notebooks/07_product.ipynb").is_file()
    assert (checkout / "notebooks/07_exercises.ipynb").is_file()
    lesson, solutions, notebooks, tests = list(said.values())[1:]
    assert "(u·v)' = 5x⁴" in lesson
    assert "exact 25.3125" in lesson
    assert "1/1 solved" in solutions
    assert len(list((checkout / "outputs/07_product").glob("*/run.json"))) >= 4, notebooks
    assert re.search(r"\b\d{2,} passed", tests)


def test_what_the_page_shows_keeps_the_rules_of_style(checkout: Path) -> None:
    mine = [str(checkout / path) for path in FILES if path.endswith(".py")]
    types(f"'{BIN}/ruff' format --check {' '.join(mine)}", checkout)
    types(f"'{BIN}/ruff' check {' '.join(mine)}", checkout)
