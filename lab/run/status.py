"""How a run can end, in the words of run.json."""

from __future__ import annotations

import re

COMPLETED = "completed"
FAILED = "failed"  # a cell raised
OUT_OF_MEMORY = "oom"  # a cell raised for want of memory, on the device or beside it
DEVICE_LOST = "device_lost"  # a cell raised because the device does not answer any more
KERNEL_DIED = "kernel_died"
TIMEOUT = "timeout"
INTERRUPTED = "interrupted"
STATUSES = (COMPLETED, FAILED, OUT_OF_MEMORY, DEVICE_LOST, KERNEL_DIED, TIMEOUT, INTERRUPTED)

# What torch says once a kernel has taken the device with it: every later call in that process fails.
_LOST = re.compile(
    r"CUDA error: (an illegal memory access|device-side assert|unspecified launch failure|misaligned address"
    r"|an illegal instruction|the launch timed out|uncorrectable ECC|unknown error)|device.*(is lost|was lost)"
    r"|GPU is lost|all CUDA-capable devices are busy",
    re.IGNORECASE | re.DOTALL,
)
_MEMORY = re.compile(r"CUDA out of memory|MPS backend out of memory|DefaultCPUAllocator: can't allocate memory")


def status_of_error(name: str, message: str) -> str:
    """Return the status of a run in which a cell raised. name: the exception's class. message: its text."""
    if name in ("OutOfMemoryError", "MemoryError") or _MEMORY.search(message):
        return OUT_OF_MEMORY
    return DEVICE_LOST if _LOST.search(message) else FAILED
