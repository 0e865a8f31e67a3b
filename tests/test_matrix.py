"""`make matrix`, run for real on small workflows, with a wheel that only calls itself torch."""

import importlib.util
import os
import platform
import subprocess
import sys
import zipfile
from pathlib import Path
from types import ModuleType

import pytest
import yaml

pytest.importorskip("pip")  # an image for editors has none
ROOT = Path(__file__).resolve().parent.parent
SCRIPT = ROOT / ".ci" / "matrix.py"
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
HERE = {("Linux", "x86_64"): "ubuntu-24.04", ("Linux", "aarch64"): "ubuntu-24.04-arm"}.get(
    (platform.system(), platform.machine()), "macos-15"
)
WORKFLOW = f"""\
jobs:
  lint: {{steps: [run: exit 7]}}
  ranges:
    name: Python ${{{{ matrix.python }}}}, torch ${{{{ matrix.torch }}}}, ${{{{ matrix.os }}}}
    strategy:
      matrix:
        os: [{HERE}]
        python: ["{PYTHON}"]
        torch: ["2.98", "2.99"]
        include:
          - {{os: {HERE}, python: "3.99", torch: "2.99"}}
          - {{os: windows-2025, python: "{PYTHON}", torch: "2.99"}}
    env: {{TORCH: "${{{{ matrix.torch }}}}"}}
    steps:
      - uses: actions/checkout@0
      - run: echo "$TORCH" && exit 8
      - run: python -c 'import os, torch; print("a cell has", torch.__file__, os.environ["TORCH"])'
      - run: STEP
"""
CELL = f"Python {PYTHON}, torch 2.99, {HERE}"


@pytest.fixture(scope="module")
def matrix() -> ModuleType:
    spec = importlib.util.spec_from_file_location("matrix_of_ci", SCRIPT)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def wheels(tmp_path: Path) -> Path:
    folder = tmp_path / "wheels"
    folder.mkdir()
    local = "" if platform.system() == "Darwin" else "+cpu"
    for version in (f"2.99.1{local}", "2.98.0"):  # on Linux the latter is no CPU wheel
        info = f"torch-{version}.dist-info"
        with zipfile.ZipFile(folder / f"torch-{version}-py3-none-any.whl", "w") as wheel:
            wheel.writestr("torch.py", "")
            wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: torch\nVersion: {version}\n")
            wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            wheel.writestr(f"{info}/RECORD", "")
    return folder


def run(tmp_path: Path, wheels: Path, step: str, *options: str) -> tuple[int, str, dict[str, str]]:
    """The exit code, all output, and each cell's line without its name."""
    workflow = tmp_path / "workflow.yml"
    workflow.write_text(WORKFLOW.replace("STEP", step))
    alone = {"PIP_FIND_LINKS": str(wheels), "PIP_CONFIG_FILE": os.devnull, "PIP_CONSTRAINT": "", "TORCH_INDEX": ""}
    env = {**os.environ, **alone}
    command = [sys.executable, str(SCRIPT), "--workflow", str(workflow), "--folder", str(tmp_path / "cells"), *options]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    cells = dict(line.split("  ", 1) for line in done.stdout.splitlines() if line.startswith("Python "))
    return done.returncode, done.stdout + done.stderr, {name: " ".join(rest.split()) for name, rest in cells.items()}


@pytest.mark.skipif(platform.system() == "Darwin", reason="there a plain version is the CPU wheel")
def test_list_names_every_cell_with_the_reason_it_cannot_run_and_runs_none(tmp_path: Path, wheels: Path) -> None:
    code, _, cells = run(tmp_path, wheels, "exit 9", "--list")
    assert code == 0
    assert cells.pop(CELL).startswith("can run torch 2.99.1+cpu, ")
    assert cells == {
        f"Python {PYTHON}, torch 2.98, {HERE}": "not here pip finds no CPU wheel of torch 2.98 for it",
        f"Python 3.99, torch 2.99, {HERE}": "not here no Python 3.99 that runs and has ensurepip on the search path",
        f"Python {PYTHON}, torch 2.99, windows-2025": f"not here this is {platform.system()} on {platform.machine()}",
    }
    assert not (tmp_path / "cells").exists()


def test_cell_runs_its_steps_in_a_venv_of_its_own_with_the_wheel(tmp_path: Path, wheels: Path) -> None:
    code, output, cells = run(tmp_path, wheels, "'echo \"on $RUNNER_OS\" -m pytest'", "--", "-k", "one or two")
    assert cells[CELL].startswith("passed torch 2.99.1"), output
    assert code == 0
    venv = tmp_path / "cells" / f"Python-{PYTHON}-torch-2.99-{HERE}"
    assert f"a cell has {next(venv.glob('lib/*/site-packages/torch.py'))} 2.99" in output
    system = "macOS" if platform.system() == "Darwin" else "Linux"
    assert f"\non {system} -m pytest -k one or two\n" in output


def test_cell_whose_step_fails_has_failed_and_so_has_the_command(tmp_path: Path, wheels: Path) -> None:
    code, _, cells = run(tmp_path, wheels, "exit 9")
    assert (code, cells[CELL]) == (1, "failed exit code 9: exit 9")


def test_include_extends_the_cells_it_agrees_with_and_adds_the_others(matrix: ModuleType) -> None:
    found = matrix.expand(
        {
            "os": ["a", "b"],
            "torch": ["1", "2"],
            "exclude": [{"os": "a", "torch": "2"}],
            "include": [{"os": "b", "x": "y"}, {"os": "b", "torch": "3"}, {"os": "c"}],
        }
    )
    assert found == [
        {"os": "a", "torch": "1"},
        {"os": "b", "torch": "1", "x": "y"},
        {"os": "b", "torch": "2", "x": "y"},
        {"os": "b", "torch": "3"},
        {"os": "c"},
    ]


def test_workflow_has_each_python_and_each_torch_that_the_project_promises(matrix: ModuleType) -> None:
    cells = matrix.read_cells(ROOT / ".github/workflows/ci.yml")
    assert {cell.values["python"] for cell in cells} == {"3.11", "3.12", "3.13", "3.14"}
    assert {cell.values["torch"] for cell in cells} == {"2.10", "2.11", "2.12", "2.13", "2.14"}
    assert {cell.values["os"] for cell in cells} == {"ubuntu-24.04", "macos-15"}
    assert len({cell.name for cell in cells}) == len(cells)


def test_the_step_left_out_is_the_one_that_installs_torch(matrix: ModuleType) -> None:
    path = ROOT / ".github/workflows/ci.yml"
    steps = [step["run"] for step in yaml.safe_load(path.read_text())["jobs"]["ranges"]["steps"] if "run" in step]
    kept = matrix.read_cells(path)[0].commands
    (left_out,) = [step for step in steps if step not in kept]
    assert 'pip install "torch==$TORCH.*"' in left_out
    assert any("-m pytest" in step for step in kept)
