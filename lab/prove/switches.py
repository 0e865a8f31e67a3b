"""Settings that change what a device computes: which of them cures a failing case?"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from operator import attrgetter
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from lab.prove.case import Case, Chunk
from lab.prove.verify import Target, quiet, verify_chunk


@dataclass(frozen=True)
class Switch:
    """One setting. name: what a person would type. kinds: of device. off: a context in which it is off."""

    name: str
    kinds: tuple[str, ...]
    off: Callable[[], AbstractContextManager[Any]]


@contextmanager
def _setting(path: str, value: object) -> Iterator[None]:
    """Set a setting of torch for a while."""
    owner_name, _, name = path.rpartition(".")
    owner = attrgetter(owner_name)(torch)
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)


@contextmanager
def _deterministic() -> Iterator[None]:
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)


@contextmanager
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _set(path: str, value: object, kinds: tuple[str, ...] = ("cuda",)) -> Switch:
    return Switch(f"torch.{path} = {value!r}", kinds, partial(_setting, path, value))


SWITCHES = (
    _set("backends.cuda.matmul.fp32_precision", "ieee"),
    _set("backends.cudnn.conv.fp32_precision", "ieee"),
    _set("backends.cudnn.rnn.fp32_precision", "ieee"),
    _set("backends.cuda.matmul.allow_bf16_reduced_precision_reduction", False),
    _set("backends.cuda.matmul.allow_fp16_reduced_precision_reduction", False),
    _set("backends.cudnn.enabled", False),
    _set("backends.mkldnn.matmul.fp32_precision", "ieee", ("cpu", "xpu")),
    _set("backends.mkldnn.conv.fp32_precision", "ieee", ("cpu", "xpu")),
    Switch("torch.nn.attention.sdpa_kernel(SDPBackend.MATH)", ("cuda", "xpu", "cpu"),
           lambda: sdpa_kernel(SDPBackend.MATH)),
    Switch("torch.backends.mkldnn.flags(enabled=False)", ("cpu",),
           lambda: torch.backends.mkldnn.flags(enabled=False)),
    Switch("torch.use_deterministic_algorithms(True)", ("cuda", "xpu", "mps"), _deterministic),
    Switch("torch.set_num_threads(1)", ("cpu",), _one_thread),
)  # fmt: skip


def cured_by(case: Case, target: Target) -> list[str]:
    """Return, for each switch that mends a failing case, a sentence that names it."""
    kind = target.torch_device.type
    return [f"cured by {switch.name}" for switch in SWITCHES if kind in switch.kinds and _cures(switch, case, target)]


def _cures(switch: Switch, case: Case, target: Target) -> bool:
    chunk = Chunk(case.op, case.sample, case.dtype, (case,))
    with quiet(), switch.off():
        (result,) = verify_chunk(chunk, target).cases
    return not result.verdict.is_failure
