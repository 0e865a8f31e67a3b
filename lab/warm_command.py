"""``lab warm``: a command whose Jupyter kernels are forked, whichever tool starts them."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, Any

import typer

from lab.errors import UsageError


def warm(
    command: Annotated[list[str], typer.Argument(metavar="COMMAND …", help="Such as papermill a.ipynb out.ipynb.")],
) -> int:
    """Run a command whose Jupyter kernels start warm: papermill, jupyter, nbclient, pytest, a script.

    Kernels of kernelspec python3 are forked from a process that has imported torch, which ends with the command. One
    that cannot be forked is started as ever. Exits as the command does; with 128 + N where signal N has ended it.
    """
    from lab.run.parent import ADDRESS, start_parent
    from lab.run.provisioner import PROVISIONER

    environment = _activated(os.environ)
    program = shutil.which(command[0], path=environment["PATH"])
    if program is None:
        raise _no_command(command[0], "was not found")
    with start_parent(environment) as parent:
        named = {ADDRESS: parent.address, "JUPYTER_DEFAULT_PROVISIONER_NAME": PROVISIONER}
        code = _run(program, command, {**environment, **named})
        if parent.ended:
            print(f"lab warm: the process that kernels are forked from has ended. {parent.complaint}", file=sys.stderr)
    return code if code >= 0 else 128 - code


def _activated(environment: Mapping[str, str]) -> dict[str, str]:
    """Return an environment in which papermill and jupyter are this Python's, as where its own is activated."""
    ours, path = str(Path(sys.executable).parent), environment.get("PATH", os.defpath)
    return {**environment, "PATH": path if ours in path.split(os.pathsep) else os.pathsep.join([ours, path])}


def _run(program: str, command: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run it to its end, and return its exit code, or the negative number of the signal that has ended it."""
    try:
        process = subprocess.Popen(command, executable=program, env=environment)
    except OSError as error:  # such as a script without a first line that names its program
        raise _no_command(command[0], f"cannot be started: {error.strerror}") from None
    with process, _passing_on(process):
        return process.wait()


@contextmanager
def _passing_on(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Let the command decide what an interrupt and a terminate mean."""

    def pass_on(number: int, frame: Any) -> None:
        if number != signal.SIGINT or not _is_typed():
            process.send_signal(number)

    heard = [number for number in (signal.SIGINT, signal.SIGTERM) if callable(signal.getsignal(number))]
    before = {number: signal.signal(number, pass_on) for number in heard}  # what is ignored stays so
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _is_typed() -> bool:
    """Say whether an interrupt comes from a terminal, which has sent it to the command too."""
    with suppress(OSError):
        terminal = os.open(os.ctermid(), os.O_RDONLY | os.O_NOCTTY)
        try:
            return os.tcgetpgrp(terminal) == os.getpgrp()
        finally:
            os.close(terminal)
    return False


def _no_command(name: str, why: str) -> UsageError:
    return UsageError(
        f"The command {name!r} {why}.",
        "Expected a program, as a shell finds it, and what belongs to it.",
        "Type 'lab warm -- papermill a.ipynb out.ipynb', or whatever starts the kernels.",
    )
