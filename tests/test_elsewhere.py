"""Dev containers, Binder and Colab: what they take from here fits what is here."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
CONTAINERS = {name: ROOT / ".devcontainer" / name for name in ("devcontainer.json", "cuda/devcontainer.json")}
DOCKERFILE = ROOT / "Dockerfile"
IN_COLAB = {"torch", "numpy", "matplotlib", "filelock", "psutil"}  # of our dependencies, what its image has

# The code of a notebook, with the modules named first gone.
PERFORM = """\
import json, sys
for name in sys.argv[2].split(","):
    sys.modules[name] = None
cells = json.load(open(sys.argv[1], encoding="utf-8"))["cells"]
code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
scope = {"__name__": "__main__"}
for cell in code[: int(sys.argv[3])]:
    exec(compile(cell, "cell", "exec"), scope)
print("cells:", len(code))
"""


@pytest.mark.parametrize("name", CONTAINERS)
def test_dev_container_opens_a_stage_and_a_user_of_the_dockerfile(name: str) -> None:
    path = CONTAINERS[name]
    container = json.loads(path.read_text())
    build = container["build"]
    assert (path.parent / build["dockerfile"]).resolve() == DOCKERFILE
    assert (path.parent / build["context"]).resolve() == ROOT
    text = DOCKERFILE.read_text()
    assert re.search(rf"^FROM .* AS {build['target']}$", text, re.MULTILINE)
    assert re.search(rf"useradd .* {container['remoteUser']}\b", text)
    python = Path(container["customizations"]["vscode"]["settings"]["python.defaultInterpreterPath"])
    assert f"PATH={python.parent}:" in text


def test_dev_containers_differ_in_the_gpu_alone() -> None:
    cpu, cuda = (json.loads(path.read_text()) for path in CONTAINERS.values())
    assert (cpu["build"].pop("args"), cuda["build"].pop("args")) == (
        {"TORCH_VARIANT": "cpu"},
        {"TORCH_VARIANT": "cuda"},
    )
    assert cuda.pop("hostRequirements") == {"gpu": True}
    assert cuda["runArgs"] == ["--gpus=all", *cpu["runArgs"]]
    ours = ("name", "build", "runArgs")
    assert {key: value for key, value in cpu.items() if key not in ours} == {
        key: value for key, value in cuda.items() if key not in ours
    }


@pytest.mark.parametrize(("given", "index"), [({}, "the Makefile's"), ({"TORCH_INDEX": ""}, None)])
def test_binder_installs_the_locks_torch_by_its_hash_and_then_the_lab(
    given: dict[str, str], index: str | None, tmp_path: Path
) -> None:
    pretended = tmp_path / "python"
    pretended.write_text('#!/bin/sh\necho "$@"\nfor last; do :; done\n[ -f "$last" ] && cat "$last" || :\n')
    pretended.chmod(0o755)
    env = {name: value for name, value in os.environ.items() if name != "TORCH_INDEX"} | given
    done = subprocess.run(
        [str(ROOT / ".binder/postBuild")],
        cwd=ROOT, env=env | {"PATH": f"{tmp_path}:{env['PATH']}"}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    first, *lock, last = done.stdout.splitlines()
    assert "--no-deps --require-hashes" in first
    named = re.search(r"^TORCH_INDEX \?= (\S+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert named
    assert re.findall(r"--index-url (\S+)", first) == ([named[1]] if index else [])
    entry = re.search(r"^torch==.*\n(?:    --hash.*\n)+", (ROOT / "requirements/cpu.txt").read_text(), re.MULTILINE)
    assert entry
    assert "\n".join(lock).startswith(entry[0].strip())
    assert [line for line in lock if "==" in line] == [entry[0].splitlines()[0]]
    assert last == "-m pip install --no-cache-dir ."


@pytest.mark.parametrize(("notebook", "cells"), [("05_gradients", 99), ("05_exercises", 4)])
def test_notebook_runs_with_what_colab_has(notebook: str, cells: int, tmp_path: Path) -> None:
    asked = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    ours = {re.match(r"[\w-]+", each)[0] for each in asked}  # type: ignore[index]
    gone = ",".join(sorted(name.replace("-", "_") for name in ours - IN_COLAB))
    copy = shutil.copy(ROOT / f"notebooks/{notebook}.ipynb", tmp_path)
    command = [sys.executable, "-c", PERFORM, str(copy), gone, str(cells)]
    done = subprocess.run(
        command, cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "cells: " in done.stdout
