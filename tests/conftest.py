"""What several test files share: every device beside every dtype it computes in, absent devices skipped aloud."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import pytest
import torch
from hypothesis import settings

from lab.device import DEVICES, check_dtype, device_row, resolve_device

# Every run draws the same examples, so a failure in CI is a failure here; no deadline, for CI machines stall.
settings.register_profile("lab", deadline=None, derandomize=True)
settings.load_profile("lab")

Mount = Callable[[str], Path]  # with the options of a tmpfs, such as size=1m,ro


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


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Mount]:
    """Mount a small tmpfs; the test is skipped where that is not allowed."""
    folder = tmp_path / "small disk"
    folder.mkdir()

    def command(*words: str) -> None:
        done = subprocess.run(["mount", "-t", "tmpfs", *words, "tmpfs", str(folder)], capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"no tmpfs can be mounted here: {done.stderr.strip()}")

    def mounted(options: str) -> Path:
        command("-o", options)
        return folder

    yield mounted
    subprocess.run(["umount", str(folder)], capture_output=True)
