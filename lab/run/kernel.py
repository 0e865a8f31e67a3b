"""The kernel's process: where its sockets and its settings lie, and how it is ended for good."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import threading
import time
from contextlib import suppress
from pathlib import Path
from queue import Empty
from typing import Any

from jupyter_client.asynchronous.client import AsyncKernelClient
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager

from lab.provenance import ROOT
from lab.run.provisioner import readable
from lab.warm import Fork

KERNEL = "lab-warm"
SPECS = ROOT / "run/data/share/jupyter/kernels"  # where its specification is, installed or not
_SOCKET_PATH = 90  # a Unix socket's path may have 103 bytes on macOS, 107 on Linux; jupyter adds '-ipc-1'
_ANSWER_S = 0.5
_POLL_S = 0.5
_GONE_S = 5.0


class PromptClient(AsyncKernelClient):
    """Jupyter's client, which is ready as soon as the kernel's output arrives, not after 0.2 s of silence more."""

    async def wait_for_ready(self, timeout: float | None = None) -> None:
        """Wait until the kernel answers and its output arrives here. Raises: RuntimeError where it does not."""
        deadline = None if timeout is None else time.monotonic() + timeout
        answered = False
        while True:
            self.kernel_info()
            with suppress(Empty):
                await self.get_iopub_msg(timeout=_ANSWER_S)
                await self.get_shell_msg(timeout=_ANSWER_S)
                answered = True
            if answered:
                return
            if not await self.is_alive():
                raise RuntimeError("Kernel died before replying to kernel_info")
            if deadline is not None and time.monotonic() > deadline:
                raise RuntimeError(f"Kernel didn't respond in {timeout:g} seconds")


def kernel_manager(scratch: Path) -> AsyncKernelManager:
    """Return a manager whose connection lies in a private folder. scratch: that folder, which outlives the kernel.

    Sockets in a folder of their own cannot collide between two kernels, as two choices of a free port can, and
    nobody else on the machine can reach them. A path too long for a socket means ports after all.
    """
    file = str(scratch / "kernel.json")
    transport = "ipc" if os.name == "posix" and len(os.fsencode(file)) < _SOCKET_PATH else "tcp"
    specs = KernelSpecManager(kernel_dirs=[str(SPECS)])
    manager = AsyncKernelManager(
        kernel_name=KERNEL, kernel_spec_manager=specs, connection_file=file, transport=transport
    )
    manager.client_factory = PromptClient
    return manager


class Process:
    """A kernel's process and whatever it started. One thread starts it, another may stop it at any time."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | Fork | None = None
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

    def close(self) -> None:
        """Kill it, and wait until it is gone."""
        self.kill()
        if self._process is not None:
            with suppress(subprocess.TimeoutExpired):  # it hangs in the system, such as in a driver
                self._process.wait(_GONE_S)
            if isinstance(self._process, Fork):
                self._process.close()

    async def ended(self, seconds: float) -> None:
        """Wait until the kernel has ended, or for so long."""
        deadline = time.monotonic() + seconds
        while self._process is not None and self._process.poll() is None and (left := deadline - time.monotonic()) > 0:
            if isinstance(self._process, Fork):  # whose end is told
                await readable(self._process, min(left, _POLL_S))
            else:
                await asyncio.sleep(0.05)

    @property
    def how_it_ended(self) -> str:
        """The signal or the exit code that a dead kernel ended with."""
        code = self._process.poll() if self._process is not None else None
        if code is None:
            return "it no longer answers"
        if code >= 0:
            return f"exit code {code}"
        return signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
