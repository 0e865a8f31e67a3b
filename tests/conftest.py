"""What several test files share: every device beside every dtype it computes in, absent devices skipped aloud."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count

import pytest
import torch
from hypothesis import settings

from lab.device import DEVICES, check_dtype, device_row, resolve_device

# Every run draws the same examples, so a failure in CI is a failure here; no deadline, for CI machines stall.
settings.register_profile("lab", deadline=None, derandomize=True)
settings.load_profile("lab")


@dataclass(frozen=True)
class Place:
    """Where a tensor can be: ``torch.tensor(1.0, device=place.device, dtype=place.dtype)``."""

    device: torch.device
    dtype: torch.dtype


@pytest.fixture(params=[(row.kind, dtype) for row in DEVICES for dtype in row.dtypes], ids="-".join)
def place(request: pytest.FixtureRequest) -> Place:
    kind, dtype = request.param
    if not device_row(kind).count():
        pytest.skip(f"this machine has no {kind}, as torch {torch.__version__} sees it")
    device = resolve_device(kind)
    return Place(device, check_dtype(device, dtype))


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Let a test add in one order, as the workers of a verification do."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def same_flips(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a flaky device flip the same bits whichever tests ran before in this process."""
    monkeypatch.setattr("lab.prove.faults.Flaky._uses", count())
