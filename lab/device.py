"""The devices that gradients are computed on, a row each, and the environment that a result depends on."""

from __future__ import annotations

import os
import platform
import re
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lab.errors import DeviceUnavailable, did_you_mean

if TYPE_CHECKING:
    import torch

DTYPES = ("float64", "float32", "bfloat16", "float16")


@dataclass(frozen=True)
class Device:
    """One kind of device.

    count: how many of it are present. describe: the name of the one with an index. dtypes: names of the
    floating point dtypes it computes gradients in. synchronize: waits until its queue is empty. switches:
    the settings that change its results, by their public names, as they stand now. ieee: sets full
    precision. deterministic: sets run-to-run identical results. Torch is imported when a field is called,
    never before.
    """

    kind: str
    count: Callable[[], int]
    describe: Callable[[int], str]
    dtypes: tuple[str, ...]
    synchronize: Callable[[], None]
    switches: Callable[[], dict[str, Any]]
    ieee: Callable[[], None]
    deterministic: Callable[[], None]


def _cpu_name(index: int) -> str:
    with suppress(OSError):
        model = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text("utf-8"), re.MULTILINE)
        if model:
            return model[1]
    return platform.processor() or platform.machine()


def _nothing() -> None:
    """A CPU has no queue to wait for and no reduced precision to switch off."""


def _cpu_switches() -> dict[str, Any]:
    import torch

    return {
        "torch.get_num_threads": torch.get_num_threads(),
        "torch.backends.cpu.get_cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "torch.backends.mkldnn.enabled": torch.backends.mkldnn.enabled,
        "torch.are_deterministic_algorithms_enabled": torch.are_deterministic_algorithms_enabled(),
    }


def _deterministic() -> None:
    import torch

    torch.use_deterministic_algorithms(True)


def _cuda_count() -> int:
    import torch

    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def _cuda_name(index: int) -> str:
    import torch

    return torch.cuda.get_device_name(index)


def _cuda_synchronize() -> None:
    import torch

    torch.cuda.synchronize()


def _cuda_switches() -> dict[str, Any]:
    import torch

    # Only the fp32_precision names are read: reading allow_tf32 after one of them was set raises.
    matmul = torch.backends.cuda.matmul
    cudnn: Any = torch.backends.cudnn  # its conv and rnn are not in torch's stubs
    return {
        "torch.backends.cuda.matmul.fp32_precision": matmul.fp32_precision,
        "torch.backends.cudnn.conv.fp32_precision": cudnn.conv.fp32_precision,
        "torch.backends.cudnn.rnn.fp32_precision": cudnn.rnn.fp32_precision,
        "torch.backends.cuda.matmul.allow_fp16_reduced_precision_reduction": (
            matmul.allow_fp16_reduced_precision_reduction
        ),
        "torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction": (
            matmul.allow_bf16_reduced_precision_reduction
        ),
        "torch.backends.cudnn.benchmark": cudnn.benchmark,
        "torch.backends.cudnn.deterministic": cudnn.deterministic,
        "torch.are_deterministic_algorithms_enabled": torch.are_deterministic_algorithms_enabled(),
        "CUBLAS_WORKSPACE_CONFIG": os.environ.get("CUBLAS_WORKSPACE_CONFIG"),
    }


def _cuda_ieee() -> None:
    import torch

    # The two of cuDNN default to 'tf32', so setting matmul's alone would leave convolutions at 10 bits.
    cudnn: Any = torch.backends.cudnn  # its conv and rnn are not in torch's stubs
    torch.backends.cuda.matmul.fp32_precision = cudnn.conv.fp32_precision = cudnn.rnn.fp32_precision = "ieee"
    torch.backends.cuda.matmul.allow_fp16_reduced_precision_reduction = False
    torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = False


def _cuda_deterministic() -> None:
    import torch

    # Read by cuBLAS when its handle is made: https://docs.nvidia.com/cuda/cublas/#results-reproducibility
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.backends.cudnn.benchmark = False
    _deterministic()


def _mps_count() -> int:
    import torch

    return int(torch.backends.mps.is_available())


def _mps_synchronize() -> None:
    import torch

    torch.mps.synchronize()


def _mps_switches() -> dict[str, Any]:
    return {
        "PYTORCH_ENABLE_MPS_FALLBACK": os.environ.get("PYTORCH_ENABLE_MPS_FALLBACK"),
        "PYTORCH_MPS_FAST_MATH": os.environ.get("PYTORCH_MPS_FAST_MATH"),
    }


def _xpu_count() -> int:
    import torch

    return torch.xpu.device_count() if torch.xpu.is_available() else 0


def _xpu_name(index: int) -> str:
    import torch

    return str(torch.xpu.get_device_name(index))


def _xpu_synchronize() -> None:
    import torch

    torch.xpu.synchronize()


# fmt: off  (one device a row)
DEVICES = (
    Device(
        "cuda",
        _cuda_count,
        _cuda_name,
        DTYPES,
        _cuda_synchronize,
        _cuda_switches,
        _cuda_ieee,
        _cuda_deterministic,
    ),
    Device("xpu", _xpu_count, _xpu_name, DTYPES, _xpu_synchronize, dict, _nothing, _deterministic),
    Device(
        "mps",
        _mps_count,
        lambda index: "Apple GPU",
        DTYPES[1:],
        _mps_synchronize,
        _mps_switches,
        _nothing,
        _deterministic,
    ),
    Device("cpu", lambda: 1, _cpu_name, DTYPES, _nothing, _cpu_switches, _nothing, _deterministic),
)
# fmt: on
_ROWS = {row.kind: row for row in DEVICES}
_SPEC = re.compile(r"(?P<kind>[a-z]+)(:(?P<index>\d{1,3}))?")


def parse_device(name: str) -> tuple[str, int | None]:
    """Split ``cuda:1`` into kind and index, without torch. ``auto`` is a kind of its own.

    Raises: DeviceUnavailable where the name is none of the rows', or an index stands where none can.
    """
    match = _SPEC.fullmatch(name)
    kind, index = (match["kind"], match["index"]) if match else (name, None)
    if kind not in (*_ROWS, "auto") or (kind == "auto" and index is not None):
        names = ("auto", *_ROWS)
        raise DeviceUnavailable(
            f"There is no device {name!r}.",
            f"A device is one of {', '.join(names)}, with an index after a colon where there are several.",
            did_you_mean(kind, names) or "Type 'lab doctor' to see the devices of this machine.",
        )
    return kind, None if index is None else int(index)


def present_devices() -> list[str]:
    """Name every device that this machine has, best first: ``['cuda:0', 'cuda:1', 'cpu']``."""
    counts = [(row.kind, row.count()) for row in DEVICES]
    return [f"{kind}:{i}" if n > 1 else kind for kind, n in counts for i in range(n)]


def resolve_device(name: str) -> torch.device:
    """Return the device of that name; ``auto`` is the best that is present.

    Raises: DeviceUnavailable where this machine does not have it. There is no silent fall back.
    """
    import torch

    kind, index = parse_device(name)
    if kind == "auto":
        return torch.device(present_devices()[0])
    count = _ROWS[kind].count()
    if count <= (index or 0):
        what = f"{name!r} is not there: this machine has {count or 'no'} {kind} device{'s' * (count != 1)}."
        raise DeviceUnavailable(
            what,
            f"Present: {', '.join(present_devices())}.",
            "Name one of these, or 'auto' for the best; 'lab doctor' shows what torch sees.",
        )
    return torch.device(name)


def device_row(device: torch.device | str) -> Device:
    """Return the row of a device, which says what it can and how it is switched."""
    return _ROWS[str(device).partition(":")[0]]


def check_dtype(device: torch.device, dtype: str) -> torch.dtype:
    """Return the dtype of that name. Raises: DeviceUnavailable where the device does not compute in it."""
    import torch

    offered = device_row(device).dtypes
    if dtype not in offered:
        raise DeviceUnavailable(
            f"{device} does not compute in {dtype}.",
            f"It computes in {', '.join(offered)}.",
            f"Choose one of these, or another device: {', '.join(present_devices())}.",
        )
    found: torch.dtype = getattr(torch, dtype)
    return found


def environment(device: torch.device | str) -> dict[str, Any]:
    """Return what a result on this device depends on: versions, build, driver, name, threads, switches.

    Plain data, fit for JSON. The same machine and settings give the same dictionary.
    """
    import torch

    row = device_row(device)
    index = torch.device(device).index or 0
    return {
        "device": str(device),
        "device_name": row.describe(index),
        "driver": _driver(row.kind),
        "torch": torch.__version__,
        "torch_cuda": torch.version.cuda,
        "python": platform.python_version(),
        "platform": f"{sys.platform}-{platform.machine()}",
        "threads": torch.get_num_threads(),
        "switches": row.switches(),
    }


def _driver(kind: str) -> str | None:
    """Return the NVIDIA driver's version, read from the kernel (no torch call tells it), or None."""
    if kind != "cuda":
        return None
    with suppress(OSError):
        version = Path("/proc/driver/nvidia/version").read_text("utf-8")
        if match := re.search(r"Module\s+(?:for \S+\s+)?([\d.]+)", version):
            return match[1]
    return None
