"""A kernel in a process that was forked for it: what differs there from one that was started with ``python -m``."""

from __future__ import annotations

import atexit
import json
import logging
import multiprocessing.process
import os
import signal
import socket
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from lab.run.preload import added, started_with
from lab.warm import adopt_orphans

# Read once, when a library is loaded: another value in a kernel's environment would not be seen in a fork.
READ_AT_LOAD = (
    *("OMP_", "MKL_", "KMP_", "GOMP_", "OPENBLAS_", "PYTORCH_", "TORCH", "CUDA_", "CUBLAS_", "NVIDIA_"),
    *("NPY_", "ATEN_", "DNNL_", "ONEDNN_", "VECLIB_", "HIP_", "ROCR_", "HSA_", "ZE_", "SYCL_", "SYMPY_"),
    *("PYTHON", "LD_", "DYLD_", "MPL", "LC_", "LANG", "TZ", "MALLOC_"),
)


def run_kernel(
    connection: socket.socket,
    *,
    python: str,
    arguments: Sequence[str],
    environment: Mapping[str, str],
    cwd: str | None,
    descriptors: Sequence[int],
) -> None:
    """Be a kernel, and say ``ready`` once it listens, or first of all why it cannot be one here.

    python: what would have been started. arguments: ipykernel's. descriptors: of its standard input, output and error.
    """
    other = ["python"] if _place(python) != _place(sys.executable) else []
    if different := [*other, *differences(environment, started_with)]:
        connection.sendall(json.dumps({"refused": different}).encode() + b"\n")
        return
    for number, descriptor in enumerate(descriptors):
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.environ.clear()
    os.environ.update({**added, **environment})
    if cwd is not None:
        os.chdir(cwd)
    # Where multiprocessing starts children, who look there for modules: the current folder as it was when imported.
    multiprocessing.process.ORIGINAL_DIR = str(Path.cwd())  # type: ignore[attr-defined]
    adopt_orphans()  # what a cell lets go of; ipykernel ends all children at a kernel's end
    threading.Thread(target=_end_with_client, args=(connection,), daemon=True).start()
    _reseed()
    app = _launch(arguments)
    connection.sendall(b'{"ready": true}\n')
    app.start()
    _leave(app)


def differences(environment: Mapping[str, str], started_with: Mapping[str, str]) -> list[str]:
    """Name the variables that only a fresh process would see, sorted."""
    names = {name for name in {*environment, *started_with} if name.startswith(READ_AT_LOAD)}
    return sorted(name for name in names if environment.get(name) != started_with.get(name))


def _place(python: str) -> tuple[Path, Path]:
    """Return the folder and the file of a Python: virtual environments share the file, names of one the folder."""
    path = Path(python)
    return path.parent.resolve(), path.resolve()


def _end_with_client(connection: socket.socket) -> None:
    """End this process and what its cells started, once the process that wanted the kernel has ended."""
    with suppress(OSError):
        while connection.recv(1):
            pass
    os.killpg(0, signal.SIGKILL)


def _reseed() -> None:
    """Give the kernel random numbers of its own, as a fresh process has. Python's own does so itself."""
    if numpy := sys.modules.get("numpy.random"):
        numpy.seed()
    if torch := sys.modules.get("torch"):
        torch.default_generator.seed()  # torch.seed() would look for devices


def _launch(arguments: Sequence[str]) -> Any:
    """Start a kernel as ipykernel_launcher does, up to where it listens."""
    import ipykernel_launcher
    from ipykernel.kernelapp import IPKernelApp

    sys.argv = [ipykernel_launcher.__file__, *arguments]
    early = [handler for handler in _log_handlers() if handler.stream is sys.stderr]
    app = IPKernelApp.instance(parent_handle=1)  # 1: it need not look whether its parent lives
    app.initialize(list(arguments))
    for handler in early:  # what libraries log belongs to the cell, as where a cell has imported them
        handler.setStream(sys.stderr)
    return app


def _log_handlers() -> list[logging.StreamHandler[Any]]:
    loggers = [logging.root, *logging.root.manager.loggerDict.values()]
    handlers = [handler for logger in loggers for handler in getattr(logger, "handlers", ())]
    return [handler for handler in handlers if isinstance(handler, logging.StreamHandler)]


def _leave(app: Any) -> None:
    """Do what a process does at its end but for torch's own, which takes longer than the process lived."""
    app.control_thread.join(5)  # else ipykernel's own close may wait for it for seconds
    threading._shutdown()  # type: ignore[attr-defined]  # waits for threads that cells started, as Python does
    atexit._run_exitfuncs()  # among them IPython's, which clears the namespace: files left open are written
    for stream in (sys.__stdout__, sys.__stderr__):
        with suppress(OSError, ValueError, AttributeError):
            stream.flush()  # type: ignore[union-attr]
