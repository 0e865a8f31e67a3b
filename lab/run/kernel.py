"""The kernel's process: where its sockets and its settings lie, and how it is ended for good."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

from jupyter_client.manager import AsyncKernelManager

from lab.provenance import ROOT

KERNEL = "python3"  # jupyter runs the spec of this name with the interpreter that the lab itself runs in
_SOCKET_PATH = 90  # a Unix socket's path may have 103 bytes on macOS, 107 on Linux; jupyter adds '-ipc-1'


def kernel_manager(scratch: Path) -> AsyncKernelManager:
    """Return a manager whose connection lies in a private folder. scratch: that folder, which outlives the kernel.

    Sockets in a folder of their own cannot collide between two kernels, as two choices of a free port can, and
    nobody else on the machine can reach them. A path too long for a socket means ports after all.
    """
    file = str(scratch / "kernel.json")
    transport = "ipc" if os.name == "posix" and len(os.fsencode(file)) < _SOCKET_PATH else "tcp"
    return AsyncKernelManager(kernel_name=KERNEL, connection_file=file, transport=transport)


def kernel_environment(scratch: Path) -> dict[str, str]:
    """Return the environment of a kernel: this process's, with the same lab, and without a person's start-up files."""
    paths = [str(ROOT.parent), os.environ.get("PYTHONPATH", "")]
    return {
        **{name: value for name, value in os.environ.items() if name != "PYTHONSTARTUP"},
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "IPYTHONDIR": str(scratch / "ipython"),
    }


class Process:
    """A kernel's process and whatever it started. One thread starts it, another may stop it at any time."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._stopped = threading.Event()

    def started(self, manager: Any) -> None:
        """Take note of a kernel that has just been started, and end it at once where stop was faster."""
        self._process = manager.provisioner.process
        if self._stopped.is_set():
            self.kill()

    def stop(self) -> None:
        """End the kernel, or keep it from running once it is there."""
        self._stopped.set()
        self.kill()

    def kill(self) -> None:
        """Kill the kernel and whatever its cells left in its group; where all are gone, nothing happens."""
        if self._process is not None and os.name == "posix":
            # Jupyter starts a kernel as the leader of its own group, so the group has its id. That id is taken as
            # long as a member lives; a dead group's is free, but process ids come round only after thousands.
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
        elif self._process is not None:
            self._process.kill()

    @property
    def how_it_ended(self) -> str:
        """The signal or the exit code that a dead kernel ended with."""
        code = self._process.poll() if self._process is not None else None
        if code is None:
            return "it no longer answers"
        return f"exit code {code}" if code >= 0 else signal.Signals(-code).name
