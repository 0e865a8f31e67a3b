"""`lab verify` from end to end on a device that is not the CPU: real processes, and a device in pure Python."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import torch
from torch.utils import backend_registration

pytestmark = pytest.mark.skipif(
    not hasattr(backend_registration, "_setup_privateuseone_for_python_backend"),
    reason=f"torch {torch.__version__} cannot have a device in pure Python, 2.11 can",
)

SCRIPT = Path(__file__).parent / "fixtures" / "python_device.py"
HAS = ("add", "add_broadcast", "div", "exp", "log", "mean", "mm", "mul", "mul_broadcast", "neg", "reciprocal", "relu",
       "sigmoid", "sqrt", "square", "sub", "sum", "tanh")  # fmt: skip
LACKS = ("atan", "conv2d", "linear")


@dataclass(frozen=True)
class Run:
    """A finished command. outputs: where it published."""

    code: int
    stdout: str
    stderr: str
    outputs: Path

    def read(self, name: str) -> str:
        """Return what the command published under that name."""
        return (self.outputs / "verify" / "latest" / name).read_text("utf-8")

    @cached_property
    def result(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.read("verify.json"))
        return found

    @cached_property
    def cells(self) -> dict[str, Any]:
        """What verify.json says of each operation."""
        return {cell["op"]: cell for cell in self.result["operations"]}

    @cached_property
    def junit(self) -> dict[str, ElementTree.Element]:
        """The test cases of junit.xml by their names."""
        return {case.attrib["name"]: case for case in ElementTree.fromstring(self.read("junit.xml")).iter("testcase")}


def verify(*words: str, outputs: Path, device: str = "pydev", fault: str = "", lacks: str = "") -> Run:
    done = subprocess.run(
        [sys.executable, SCRIPT, "verify", "--device", device, "--outputs", outputs, *words],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
        env={**os.environ, "PYDEV_FAULT": fault, "PYDEV_LACKS": lacks},
    )
    return Run(done.returncode, done.stdout, done.stderr, outputs)


def verify_quickly(*ops: str, outputs: Path, **device: str) -> Run:
    return verify("--ops", ",".join(ops), "--dtype", "float32", "--quick", outputs=outputs, **device)


@pytest.fixture(scope="module")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return verify_quickly(*HAS, *LACKS, outputs=tmp_path_factory.mktemp("healthy"))


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return verify_quickly("add", "exp", "mm", "mul", outputs=tmp_path_factory.mktemp("faulty"), fault="mul")


def test_what_a_healthy_device_has_passes(healthy: Run) -> None:
    assert healthy.code == 0, healthy.stderr
    assert (healthy.result["device"], healthy.result["verdict"]) == ("pydev", "pass")
    assert healthy.result["environment"]["device_name"] == "a device in Python"
    assert {op: healthy.cells[op]["verdict"] for op in HAS} == dict.fromkeys(HAS, "pass")
    assert all(healthy.cells[op]["comparisons"] >= healthy.cells[op]["cases"] for op in HAS)


def test_every_layout_is_tried_on_it(healthy: Run) -> None:
    tried = healthy.cells["mul"]["axes"]
    assert set(tried["layout"]) == {"contiguous", "permuted", "strided", "expanded"}
    assert set(tried["cotangent"]) == {"dense", "transposed", "stride-0"}


def test_what_it_lacks_is_unsupported_and_no_failure(healthy: Run) -> None:
    for op in LACKS:
        cell = healthy.cells[op]
        assert (cell["verdict"], cell["comparisons"], cell["cause"]) == ("unsupported", 0, None)
        assert cell["worst"]["note"].startswith("NotImplementedError: ")
    assert healthy.result["counts"] == {"pass": len(HAS), "unsupported": len(LACKS)}


def test_the_probes_are_answered_by_it(healthy: Run) -> None:
    asked = {(probe["kind"], probe["name"]) for probe in healthy.result["probes"] if probe["passed"]}
    assert {
        ("product", "mm dX"),
        ("accumulator", "sum"),
        ("subnormals", "backward"),
        ("rounding", "ties to even"),
    } <= asked
    assert not {name for _, name in asked if name.startswith("conv2d")}


def test_junit_has_each_operation_and_skips_what_is_unsupported(healthy: Run) -> None:
    assert {*HAS, *LACKS} <= set(healthy.junit)
    assert {name for name, case in healthy.junit.items() if case.find("skipped") is not None} == set(LACKS)
    assert not [name for name, case in healthy.junit.items() if case.find("failure") is not None]


def test_a_faulty_kernel_is_named(faulty: Run) -> None:
    assert faulty.code == 1
    assert faulty.stderr.splitlines()[-3].endswith("2 of 4 operations and dtypes failed on pydev.")
    verdicts = {op: cell["verdict"] for op, cell in faulty.cells.items()}
    assert verdicts == {"add": "pass", "exp": "fail", "mm": "pass", "mul": "fail"}  # the backward of exp multiplies
    for op in ("exp", "mul"):
        cause = faulty.cells[op]["cause"]
        assert cause["label"] == "kernel"
        assert "its results are 1.001 times what they should be" in cause["evidence"]
        assert any(sentence.startswith("aten.mul.Tensor, call ") for sentence in cause["evidence"])
        assert "aten.mul.Tensor" in faulty.junit[op].findtext("failure", "")


def test_the_case_that_a_failure_names_fails_alone(faulty: Run, tmp_path: Path) -> None:
    case = faulty.cells["mul"]["cause"]["case"]
    assert faulty.cells["mul"]["cause"]["reproduce"] == f"lab verify --device pydev --case {case}"
    alone = verify("--case", case, outputs=tmp_path, fault="mul")
    assert alone.code == 1
    assert "aten.mul.Tensor" in alone.stdout


def test_a_missing_backward_is_unsupported_and_ends_no_worker(tmp_path: Path) -> None:
    run = verify_quickly("sigmoid", "tanh", outputs=tmp_path, lacks="sigmoid_backward")
    assert run.code == 0, run.stderr
    assert {op: cell["verdict"] for op, cell in run.cells.items()} == {"sigmoid": "unsupported", "tanh": "pass"}
    assert "sigmoid_backward" in run.cells["sigmoid"]["worst"]["note"]


def test_a_device_without_most_operations_is_verified_in_the_rest(tmp_path: Path) -> None:
    run = verify_quickly("add", "mm", "neg", outputs=tmp_path, lacks="add,mm,mul,sum,fill_")
    assert run.code == 0, run.stderr
    assert {op: cell["verdict"] for op, cell in run.cells.items()} == {
        "neg": "pass",
        "add": "unsupported",
        "mm": "unsupported",
    }
    # Of the cases the strided one is left out: nothing can fill the gaps between its elements.
    assert run.cells["neg"]["comparisons"] == run.cells["neg"]["cases"] - 1
    assert run.result["probes"] == []


@pytest.mark.parametrize("fault", ["mm", "sum"])
def test_a_wrong_kernel_is_no_coarse_accumulator(fault: str, tmp_path: Path) -> None:
    run = verify_quickly("add_broadcast", "mm", outputs=tmp_path, fault=fault)
    assert run.code == 1
    causes = {op: cell["cause"]["label"] for op, cell in run.cells.items() if cell["cause"]}
    assert causes == {{"mm": "mm", "sum": "add_broadcast"}[fault]: "kernel"}
    assert " probes failed on pydev." in run.stderr


@pytest.mark.parametrize(
    ("device", "message"),
    [("pydev:3", "Present: cpu, pydev."), ("pydex", "Did you mean 'pydev'?")],
    ids=["an index too high", "an unknown name"],
)
def test_a_device_that_is_not_there_is_an_error(device: str, message: str, tmp_path: Path) -> None:
    run = verify_quickly("mul", outputs=tmp_path, device=device)
    assert run.code == 3
    assert message in run.stderr
    assert "Traceback" not in run.stderr
    assert list(tmp_path.iterdir()) == []
