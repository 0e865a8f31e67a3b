"""What `make` shows and what each target would type, without running any of it."""

import os
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
TEXT = (ROOT / "Makefile").read_text()
TARGETS = re.findall(r"^([a-z-]+):", TEXT, re.MULTILINE)


def make(*arguments: str) -> str:
    """What make prints, away from any make that runs this test and from variables of the same name."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    done = subprocess.run(["make", *arguments], cwd=ROOT, env=kept, capture_output=True, text=True, check=True)
    return done.stdout


def typed(*arguments: str) -> str:
    """The last command a target would run, its spaces made one."""
    return re.sub(r"\s+", " ", make("--dry-run", *arguments).splitlines()[-1]).strip()


def test_help_is_the_default_and_lists_every_target() -> None:
    listed = re.findall(r"^make ([a-z-]+) +\S", make(), re.MULTILINE)
    assert listed == [target for target in TARGETS if target != "ready"]
    assert make() == make("help")


def test_every_target_is_phony() -> None:
    (phony,) = re.findall(r"^\.PHONY: (.*?[^\\])$", TEXT, re.MULTILINE | re.DOTALL)
    assert sorted(phony.replace("\\\n", "").split()) == sorted(TARGETS)


@pytest.mark.parametrize(
    "target", [t for t in TARGETS if t not in {"help", "setup", "ready", "clean", "image", "up", "down"}]
)
def test_target_sets_the_lab_up_first(target: str) -> None:
    assert "requirements/setup.sh 'auto' >/dev/null" in make("--dry-run", target)


@pytest.mark.parametrize(
    ("arguments", "command"),
    [
        ("lesson", "lab lesson"),
        ("lesson X=3 Y=0", "lab lesson -p 'x=3' -p 'y=0'"),
        (
            "lesson LESSON=05 DEVICE=cuda DTYPE=float64 SEED=1",
            "lab lesson '05' --device 'cuda' --dtype 'float64' --seed '1'",
        ),
        ("lesson|P=lr=0.1 steps=5", "lab lesson -p 'lr=0.1' -p 'steps=5'"),
        ("lesson|X=it's; $$HOME", "lab lesson -p 'x=it'\\''s; $HOME'"),
        ("exercises", "lab exercises"),
        ("exercises LESSON=05 SOLUTIONS=1", "lab exercises --lesson '05' --solutions"),
        ("watch", "lab exercises watch"),
        ("check SEED=1", "lab exercises check --seed '1'"),
        ("hint EXERCISE=ex01 STEP=2", "lab exercises hint 'ex01' 2"),
        ("solution EXERCISE=ex01 GIVE_UP=1", "lab exercises solution 'ex01' --give-up"),
        ("reset EXERCISE=ex01", "lab exercises reset 'ex01'"),
        ("predict", "lab exercises predict"),
        ("errors", "lab errors"),
        ("errors|NAME=a leaf's view", "lab errors 'a leaf'\\''s view'"),
        ("grade|FOLDER=my course|SEED=1", "lab grade 'my course' --seed '1'"),
        ("notebooks", "lab run notebooks/*.ipynb"),
        ("notebooks LESSON=06", "lab run notebooks/06*.ipynb"),
        ("notebooks LESSON=06 P=lr=0.1", "lab run notebooks/06_linear_regression.ipynb -p 'lr=0.1'"),
        ("notebooks X=3", "lab run notebooks/05_gradients.ipynb -p 'x=3'"),
        ("notebooks NOTEBOOK=mine.ipynb SEED=2", "lab run mine.ipynb --seed '2'"),
        ("verify", "lab verify"),
        ("verify DEVICE=cuda QUICK=1 OPS=conv* SOAK=5", "lab verify --device 'cuda' --ops 'conv*' --quick --soak '5'"),
        ("tour", "lab tour"),
        ("tour DEVICE=cuda FULL=1", "lab tour --device 'cuda' --full"),
        ("report", "lab serve"),
        ("report PORT=0", "lab serve --port '0'"),
        ("test|ARGS=-k setup", "python -m pytest -n 2 -k setup"),
    ],
)
def test_variables_become_options(arguments: str, command: str) -> None:
    separator = "|" if "|" in arguments else " "
    assert typed(*arguments.split(separator)) == f".venv/bin/{command}"


@pytest.mark.parametrize("variant", ["auto", "cpu"])
def test_setup_passes_the_variant_on(variant: str) -> None:
    assert typed("setup", f"VARIANT={variant}") == f"sh requirements/setup.sh '{variant}'"


def test_clean_keeps_the_learner_s_attempts_and_the_venv() -> None:
    assert not re.search(r"workspace|\.venv", make("--dry-run", "clean"))
