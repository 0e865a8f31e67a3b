"""What the parent of warm kernels imports: all that a kernel needs before its first cell, and nothing that runs.

An operation, a question for a device, a zmq context or a thread would each break in the forks: check_fit looks.
"""

from __future__ import annotations

import ctypes
import importlib
import os
import threading
import weakref
from contextlib import suppress
from pathlib import Path

# The environment of the parent, once it has preloaded, and what the imports have added to it.
started_with: dict[str, str] = {}
added: dict[str, str] = {}

# numpy first: its pool, which is ready for a fork, is what threads are counted against. The others are what ipykernel
# and matplotlib import late: at a kernel's start, at the first figure. What gradcheck imports late, sympy above all,
# takes 0.4 s, and what the first optimizer does, torch._dynamo, 2 s: these are imported while nobody asks.
IDLE = ("torch._subclasses.schema_check_mode", "torch.fx.experimental.symbolic_shapes", "torch._dynamo")
_FIRST = ("numpy",)
_NEEDED = ("torch", "ipykernel.kernelapp", "ipykernel.ipkernel", "ipykernel.zmqshell", "zmq.eventloop.zmqstream")
_LATE = (
    "matplotlib.pyplot",
    "matplotlib.backends.backend_agg",
    "matplotlib.backends.backend_svg",
    "numpy.random",
    "IPython.core.completerlib",
    "IPython.core.debugger",
    "IPython.core.logger",
    "IPython.core.magics",
    "IPython.core.oinspect",
    "IPython.extensions.storemagic",
    "comm",
    "ipykernel.debugger",
    "lab.memory",
    "lab.teach.show",
    "pdb",
    "psutil",
    "resource",
    "sqlite3",
    "tornado.platform.asyncio",
)
_NOT_INITIALISED = 3  # CUDA_ERROR_NOT_INITIALIZED


def preload() -> None:
    """Import it all. Raises: RuntimeError where what was imported does not bear a fork."""
    started_with.update(os.environ)
    # matplotlib reads it when it is imported; ipykernel sets it in a kernel that has none. The module that it names is
    # not imported here: it would take the parent for a kernel.
    os.environ.setdefault("MPLBACKEND", "module://matplotlib_inline.backend_inline")
    os.environ["PYDEVD_DISABLE_FILE_VALIDATION"] = "1"  # the debugger's doubt about frozen modules is for nobody here
    for name in _FIRST:
        importlib.import_module(name)
    threads = count_threads()
    for name in _NEEDED:
        importlib.import_module(name)
    for name in _LATE:
        with suppress(ImportError):  # another version has it elsewhere: who needs it will find it
            importlib.import_module(name)
    for finalizer in list(weakref.finalize._registry):  # type: ignore[attr-defined]
        finalizer.atexit = False  # what torch takes down at its end would go with the kernel anyway, and faster
    del os.environ["PYDEVD_DISABLE_FILE_VALIDATION"]
    added.update({name: value for name, value in os.environ.items() if name not in started_with})
    check_fit(threads)


def count_threads() -> int:
    """Return how many threads the operating system sees in this process; 0 where it does not say."""
    tasks = Path("/proc/self/task")
    return len(list(tasks.iterdir())) if tasks.is_dir() else 0


def check_fit(threads: int) -> None:
    """Raises: RuntimeError where this process does not bear a fork. threads: how many it may have."""
    import torch

    if threading.active_count() > 1 or count_threads() > threads:
        raise RuntimeError(f"{count_threads()} threads, where {threads} are expected")
    if torch.cuda.is_initialized():
        raise RuntimeError("torch has initialised CUDA")
    if _driver_is_initialised():
        raise RuntimeError("something has initialised the CUDA driver")


def _driver_is_initialised() -> bool:
    """Ask the CUDA driver without initialising it, where its library has been loaded."""
    maps = Path("/proc/self/maps")
    if not maps.is_file() or "libcuda.so" not in maps.read_text():
        return False
    count = ctypes.c_int()
    return bool(ctypes.CDLL("libcuda.so.1").cuDeviceGetCount(ctypes.byref(count)) != _NOT_INITIALISED)
