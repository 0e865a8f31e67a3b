"""Warm kernels for any Jupyter tool: a kernel provisioner that forks where it can and spawns where it cannot.

The kernelspec ``lab-warm`` names it; JUPYTER_DEFAULT_PROVISIONER_NAME=lab-warm gives it to every kernelspec that names
none. The warm parent belongs to the process that starts kernels, or to the one that set LAB_WARM to its address.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from jupyter_client.connect import KernelConnectionInfo
from jupyter_client.provisioning.local_provisioner import LocalProvisioner

from lab.run.parent import warm_address
from lab.warm import Fork, read_line

PROVISIONER = "lab-warm"
_LAUNCHER = ["-m", "ipykernel_launcher"]
_POLL_S = 0.1
_BEGIN_S = 60.0  # what the parent may take for its imports, and then a kernel until it listens


class CannotFork(Exception):
    """Why a kernel cannot be forked; an ordinary one can be spawned."""


class GivenUp(RuntimeError):
    """A kernel is not wanted any more, and has not been started."""


class WarmProvisioner(LocalProvisioner):
    """Forks ipykernel from a parent that has imported torch. cold: why the kernel was spawned after all, or nothing."""

    process: Any  # a Fork or subprocess.Popen, which LocalProvisioner treats alike
    cold = ""
    _fork: Fork | None = None  # also once it has ended, when process is None
    _given_up = False

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> KernelConnectionInfo:
        """Fork a kernel that listens by the time this returns, or spawn one as Jupyter does. Raises: GivenUp."""
        self.cold = ""
        try:
            self._fork = await asyncio.to_thread(ask_for_kernel, cmd, **kwargs)
            if self._given_up:
                self._fork.abort()
            self.process = await asyncio.to_thread(await_kernel, self._fork)
        except CannotFork as reason:
            if self._given_up:
                raise GivenUp("Kernel is not wanted any more") from None
            self.cold = str(reason)
            _say_once(self.log, self.cold)
            return await super().launch_kernel(cmd, **kwargs)
        self.pid = self.pgid = self.process.pid
        self.cwd = kwargs.get("cwd") or Path.cwd()
        return self.connection_info

    def give_up(self) -> None:
        """Start no kernel, or let the one that is being started end, from any thread; one that runs is left alone."""
        self._given_up = True
        if self._fork is not None and self.process is None:
            self._fork.abort()

    async def wait(self) -> int | None:
        """Wait for the end of the kernel, and notice it at once."""
        if isinstance(self.process, Fork):
            while self.process.poll() is None:
                await readable(self.process, _POLL_S)
        return await super().wait()

    async def cleanup(self, restart: bool = False) -> None:
        """Close the connection to a kernel that has ended; one that has not ends then."""
        await super().cleanup(restart)
        if self._fork is not None:
            self._fork.close()
            self._fork = None


def ask_for_kernel(
    cmd: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    cwd: str | os.PathLike[str] | None = None,
    stdin: Any = None,
    stdout: Any = None,
    stderr: Any = None,
    independent: bool = False,
    **others: Any,
) -> Fork:
    """Ask the warm parent for a kernel. Raises: CannotFork."""
    words = [word for word in cmd[1:] if not word.startswith("-Xfrozen_modules")]
    if words[:2] != _LAUNCHER or independent or {subprocess.PIPE, subprocess.STDOUT} & {stdin, stdout, stderr}:
        raise CannotFork(f"{' '.join(cmd[:3])} with these options is not what it forks")
    environment = {**(os.environ if env is None else env), "JPY_PARENT_PID": str(os.getpid())}
    null = os.open(os.devnull, os.O_RDWR)
    try:
        streams = [_descriptor(stream, or_else) for stream, or_else in ((stdin, null), (stdout, 1), (stderr, 2))]
        return Fork(
            warm_address(environment),
            "lab.run.forked:run_kernel",
            descriptors=[null if stream == subprocess.DEVNULL else stream for stream in streams],
            python=cmd[0],
            arguments=words[2:],
            environment=environment,
            cwd=str(Path(cwd or ".").absolute()),  # the parent's is another
        )
    except OSError as error:
        raise CannotFork(f"the warm parent is gone ({error.strerror or error})") from None
    finally:
        os.close(null)


def await_kernel(fork: Fork) -> Fork:
    """Wait until a kernel that was asked for listens. Raises: CannotFork, after which there is none."""
    try:
        fork.begin(_BEGIN_S)
        fork.connection.settimeout(_BEGIN_S)
        answer = json.loads(read_line(fork.connection) or "{}")
        fork.connection.settimeout(None)
        answer = dict(answer)
    except (OSError, ValueError, TypeError) as error:
        fork.close()
        raise CannotFork(f"the warm parent does not fork ({getattr(error, 'strerror', '') or error})") from None
    if "ready" not in answer:
        refused = answer.get("refused")
        fork.close()
        raise CannotFork(
            f"it differs from its parent in {', '.join(refused)}" if refused else "it ended while starting"
        )
    return fork


def _descriptor(stream: Any, or_else: int) -> int:
    if stream is None:
        return or_else
    return int(stream if isinstance(stream, int) else stream.fileno())


async def readable(fork: Fork, seconds: float) -> None:
    """Wait until a fork's end is told, or for so long."""
    loop, told = asyncio.get_running_loop(), asyncio.Event()
    number = fork.fileno()
    loop.add_reader(number, told.set)
    try:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):  # wait_for of Python 3.11 loses a cancellation that comes as it ends
                await told.wait()
    finally:
        loop.remove_reader(number)


@cache
def _say_once(log: Any, reason: str) -> None:
    log.warning("lab-warm: an ordinary kernel was started, for %s.", reason)
