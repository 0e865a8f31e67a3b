"""The devices that gradients are computed on, a row each, and the environment that a result depends on."""

from __future__ import annotations

import os
import platform
import re
import sys
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from operator import attrgetter
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
    floating point dtypes it computes gradients in. synchronize: waits until the queue of the one with an index
    is empty. switches: the settings that change its results, by their public names, as they stand now. ieee:
    sets full precision. deterministic: sets run-to-run identical results, before the first use of the device.
    Torch is imported when a field is called, never before.

    Counting CUDA devices starts the driver: children that are forked afterwards cannot use CUDA
    (https://docs.pytorch.org/docs/stable/notes/multiprocessing.html#poison-fork-in-multiprocessing).
    """

    kind: str
    count: Callable[[], int]
    describe: Callable[[int], str]
    dtypes: tuple[str, ...]
    synchronize: Callable[[int], None]
    switches: Callable[[], dict[str, Any]]
    ieee: Callable[[], None]
    deterministic: Callable[[], None]


def _read(*names: str) -> dict[str, Any]:
    """Return settings by name: torch's public ones, called where they are functions, or environment variables."""
    import torch

    def value(name: str) -> Any:
        found = attrgetter(name.removeprefix("torch."))(torch)
        return found() if callable(found) else found

    return {name: value(name) if name.startswith("torch.") else os.environ.get(name) for name in names}


def _write(settings: Mapping[str, Any]) -> None:
    import torch

    for name, value in settings.items():
        owner, _, attribute = name.removeprefix("torch.").rpartition(".")
        setattr(attrgetter(owner)(torch), attribute, value)


# Full precision, https://docs.pytorch.org/docs/stable/notes/numerical_accuracy.html. Only the fp32_precision names
# are used: reading allow_tf32 after one of them was set may raise. cuDNN's two default to 'tf32', and oneDNN, which
# multiplies on CPUs and Intel GPUs, rounds to bfloat16 after set_float32_matmul_precision('medium').
_CUDA_IEEE = {
    "torch.backends.cuda.matmul.fp32_precision": "ieee",
    "torch.backends.cudnn.conv.fp32_precision": "ieee",
    "torch.backends.cudnn.rnn.fp32_precision": "ieee",
    "torch.backends.cuda.matmul.allow_fp16_reduced_precision_reduction": False,
    "torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction": False,
    "torch.backends.cuda.matmul.allow_fp16_accumulation": False,
}
_ONEDNN_IEEE = {
    "torch.backends.mkldnn.matmul.fp32_precision": "ieee",
    "torch.backends.mkldnn.conv.fp32_precision": "ieee",
    "torch.backends.mkldnn.rnn.fp32_precision": "ieee",
}
_DETERMINISTIC = "torch.are_deterministic_algorithms_enabled"
_CUDA_SWITCHES = (
    *_CUDA_IEEE,
    "torch.backends.cudnn.benchmark",
    "torch.backends.cudnn.deterministic",
    "torch.backends.cudnn.version",
    _DETERMINISTIC,
    "CUBLAS_WORKSPACE_CONFIG",
    "NVIDIA_TF32_OVERRIDE",
)
_CPU_SWITCHES = (
    "torch.backends.cpu.get_cpu_capability",
    "torch.backends.mkldnn.enabled",
    *_ONEDNN_IEEE,
    _DETERMINISTIC,
)


def _torch(path: str, *arguments: Any) -> Any:
    """Call the public function of torch that has this name."""
    import torch

    return attrgetter(path)(torch)(*arguments)


def _cpu_name(index: int) -> str:
    with suppress(OSError):
        model = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text("utf-8"), re.MULTILINE)
        if model:
            return model[1]
    return platform.processor() or platform.machine()


def _cuda_count() -> int:
    return int(_torch("cuda.device_count")) if _torch("cuda.is_available") else 0


def _deterministic() -> None:
    _torch("use_deterministic_algorithms", True)


def _cuda_deterministic() -> None:
    # Read by cuBLAS when its handle is made: https://docs.nvidia.com/cuda/cublas/#results-reproducibility
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    _write({"torch.backends.cudnn.benchmark": False})
    _deterministic()


# Best first: the order of 'auto'.
DEVICES = (
    Device(
        kind="cuda",
        count=_cuda_count,
        describe=lambda index: str(_torch("cuda.get_device_name", index)),
        dtypes=DTYPES,
        synchronize=lambda index: _torch("cuda.synchronize", index),
        switches=partial(_read, *_CUDA_SWITCHES),
        ieee=partial(_write, _CUDA_IEEE),
        deterministic=_cuda_deterministic,
    ),
    Device(
        kind="xpu",
        count=lambda: int(_torch("xpu.device_count")),
        describe=lambda index: str(_torch("xpu.get_device_name", index)),
        dtypes=DTYPES,
        synchronize=lambda index: _torch("xpu.synchronize", index),
        switches=partial(_read, *_ONEDNN_IEEE, _DETERMINISTIC),
        ieee=partial(_write, _ONEDNN_IEEE),
        deterministic=_deterministic,
    ),
    Device(
        kind="mps",
        count=lambda: int(_torch("backends.mps.is_available")),
        describe=lambda index: str(_torch("backends.mps.get_name")),
        dtypes=DTYPES[1:],  # Metal has no float64
        synchronize=lambda index: _torch("mps.synchronize"),
        switches=partial(_read, "PYTORCH_ENABLE_MPS_FALLBACK", "PYTORCH_MPS_FAST_MATH", _DETERMINISTIC),
        ieee=lambda: None,  # no public switch
        deterministic=_deterministic,
    ),
    Device(
        kind="cpu",
        count=lambda: 1,
        describe=_cpu_name,
        dtypes=DTYPES,
        synchronize=lambda index: None,  # it has no queue
        switches=partial(_read, *_CPU_SWITCHES),
        ieee=partial(_write, _ONEDNN_IEEE),
        deterministic=_deterministic,
    ),
)
_SPEC = re.compile(r"(?P<kind>[a-z]+)(:(?P<index>0|[1-9][0-9]{0,2}))?")


def _rows() -> dict[str, Device]:
    return {row.kind: row for row in DEVICES}


def parse_device(name: str) -> tuple[str, int | None]:
    """Split ``cuda:1`` into kind and index, without torch. ``auto`` is a kind of its own.

    Raises: DeviceUnavailable where the name is none of the rows', or an index stands where none can.
    """
    match = _SPEC.fullmatch(name)
    kind, index = (match["kind"], match["index"]) if match else (name, None)
    if kind not in (*_rows(), "auto") or (kind == "auto" and index is not None):
        names = ("auto", *_rows())
        meant = kind.strip().lower().replace("gpu", "auto")  # which of its names a GPU has, auto finds out
        raise DeviceUnavailable(
            f"There is no device {name!r}.",
            f"A device is one of {', '.join(names)}, with an index after a colon where there are several.",
            did_you_mean(meant, names) or "Type 'lab doctor' to see the devices of this machine.",
        )
    return kind, None if index is None else int(index)


def _names(row: Device) -> list[str]:
    """Name the present devices of a kind. A device has one name: an index only where there are several."""
    count = row.count()
    return [f"{row.kind}:{i}" if count > 1 else row.kind for i in range(count)]


def present_devices() -> list[str]:
    """Name every device that this machine has, best first: ``['cuda:0', 'cuda:1', 'cpu']``."""
    return [name for row in DEVICES for name in _names(row)]


def resolve_device(name: str) -> torch.device:
    """Return the device of that name, as present_devices() names it; ``auto`` is the best that is present.

    Raises: DeviceUnavailable where this machine does not have it. There is no silent fall back: where a driver
    does not work, torch warns.
    """
    import torch

    kind, index = parse_device(name)
    if kind == "auto":
        return torch.device(present_devices()[0])
    with warnings.catch_warnings(record=True, action="always") as complaints:
        here = _names(_rows()[kind])
        if (index or 0) < len(here):
            return torch.device(here[index or 0])
        present = present_devices()
    other_torch = " 'make setup VARIANT=cuda' installs a torch that has it." if _lacks_cuda(kind) else ""
    reasons = dict.fromkeys(f" {complaint.message}" for complaint in complaints)
    raise DeviceUnavailable(
        f"{name!r} is not there: torch {torch.__version__} finds {', '.join(here) or f'no {kind}'}.{''.join(reasons)}",
        f"Present: {', '.join(present)}.",
        f"Name one of these, or 'auto' for the best; 'lab doctor' shows what torch sees.{other_torch}",
    )


def _lacks_cuda(kind: str) -> bool:
    import torch

    return kind == "cuda" and torch.version.cuda is None


def device_row(device: torch.device | str) -> Device:
    """Return the row of a device, which says what it can and how it is switched."""
    return _rows()[str(device).partition(":")[0]]


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
        "torch": str(torch.__version__),  # a subclass of str
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
