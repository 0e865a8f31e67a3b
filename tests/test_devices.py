"""Gradients match across devices and across the CPU's own code paths, judged by the rule of lab.prove, not allclose."""

from __future__ import annotations

import shutil
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest
import torch
from conftest import Place

from lab.device import device_row
from lab.prove.backends import BACKENDS
from lab.prove.case import Chunk, Selection, parse_case
from lab.prove.known import known_about
from lab.prove.probes import run_probes
from lab.prove.result import CaseResult
from lab.prove.verify import Target, verify_chunk

# Each multiplies, adds, normalises or recurs in another way; `lab verify --backend` runs all operations.
SOME = ("mm", "linear", "conv2d", "layer_norm", "batch_norm", "softmax", "attention", "lstm", "index_put", "logsumexp")


pytestmark = pytest.mark.usefixtures("one_thread")


def failures(chunks: list[Chunk], target: Target) -> list[CaseResult]:
    """Return the failing cases that no finding explains."""
    results = (result for chunk in chunks for result in verify_chunk(chunk, target).cases)
    kind = target.torch_device.type
    return [r for r in results if r.verdict.is_failure and not known_about(parse_case(r.case), kind)]


def ask_for_full_precision(device: torch.device) -> None:
    """Switch TF32 off, which a GPU uses in float32 until it is asked not to; leave the CPU as it comes."""
    if device.type != "cpu":
        device_row(device).ieee()


def test_every_gradient_of_a_device_is_right(place: Place) -> None:
    dtype = str(place.dtype).removeprefix("torch.")
    chunks = Selection(dtypes=(dtype,), quick=True).chunks()
    ask_for_full_precision(place.device)
    assert failures(chunks, Target(str(place.device))) == []


@pytest.mark.parametrize("name", ["mkldnn-off", "decompositions"])
def test_another_code_path_of_the_cpu_gives_the_same_gradients(name: str) -> None:
    chunks = Selection(ops=SOME, dtypes=("float32",), axes=(("size", ("small", "odd")),)).chunks()
    assert failures(chunks, Target(backend=BACKENDS[name])) == []


def compiled_failures() -> list[CaseResult]:
    torch.set_num_threads(1)
    plain = (("size", ("small",)), ("layout", ("contiguous",)), ("cotangent", ("dense",)), ("mask", ("all",)))
    chunks = Selection(ops=("layer_norm",), dtypes=("float32",), axes=plain).chunks()  # each case takes a compiler
    return failures(chunks, Target(backend=BACKENDS["compile"]))


@pytest.mark.skipif(not shutil.which("g++"), reason="torch.compile needs a C++ compiler, and this machine has no g++")
@pytest.mark.skipif(" " in torch.__file__, reason="torch.compile cannot compile where torch lies below a space")
def test_a_compiled_gradient_is_right(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))  # nothing that another process left, or is writing
    # A process of its own, as a verification has: setuptools, which torch asks for the compiler, gives up where Python
    # imported its own distutils before it, and other tests may have done that.
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        assert pool.submit(compiled_failures).result() == []


def test_the_probes_of_a_device_are_exact(place: Place) -> None:
    if place.dtype is not torch.float32:
        pytest.skip("the probes are asked in float32")
    ask_for_full_precision(place.device)
    assert [probe for probe in run_probes(Target(str(place.device))) if not probe.passed] == []
