"""Where attempts run: in a sandbox made by bubblewrap, or, where it does not work, said to be not isolated.

bubblewrap (https://github.com/containers/bubblewrap) makes namespaces without privileges. What runs in one sees the
interpreter, its libraries and the lab, all read-only, a temporary folder of its own, no network and no other process.
It protects from accidents and pranks. It is no boundary between tenants: the kernel is shared.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from lab.errors import UsageError
from lab.warm import ROOT

# Beside the interpreter's own folders. Devices are bound for accelerators only.
_SYSTEM = (
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/etc/alternatives",
    "/etc/ld.so.cache",
)
# What torch and the interpreter are configured by; all else of the environment stays outside.
_PASSED = ("LANG", "LC_", "OMP_", "MKL_", "PYTORCH_", "TORCH_", "CUDA_", "NVIDIA_", "LD_LIBRARY_PATH")


@dataclass(frozen=True)
class Sandbox:
    """How attempts are isolated. prefix: the command that isolates another, or nothing. missing: why there is none."""

    prefix: tuple[str, ...] = ()
    missing: str = ""

    @property
    def environment(self) -> dict[str, str]:
        """What of the environment an attempt sees: all of it where it is not isolated."""
        if not self.prefix:
            return dict(os.environ)
        kept = {name: value for name, value in os.environ.items() if name.startswith(_PASSED)}
        return {**kept, "PATH": "/usr/bin:/bin", "HOME": "/tmp"}


def find_sandbox(*, accelerator: bool = False, required: bool = False) -> Sandbox:
    """Return the sandbox of this machine. accelerator: whether attempts need its devices.

    Raises: UsageError where one is required and there is none.
    """
    sandbox = _find(accelerator)
    if required and sandbox.missing:
        raise UsageError(
            f"There is no sandbox to run attempts in: {sandbox.missing}.",
            "Expected bubblewrap to work here, since --require-sandbox asks for it.",
            "Install bubblewrap, or leave the option out: attempts then run as you, with nothing around them.",
        )
    return sandbox


@cache
def _find(accelerator: bool) -> Sandbox:
    bwrap = shutil.which("bwrap")
    if bwrap is None:
        return Sandbox(missing="the container is the wall" if _in_container() else "bubblewrap is not installed")
    prefix = (bwrap, *_arguments(accelerator))
    try:  # the self-test: some kernels and containers forbid namespaces
        subprocess.run([*prefix, sys.executable, "-c", ""], check=True, capture_output=True, timeout=20)
    except subprocess.CalledProcessError as error:
        said = error.stderr.decode(errors="replace").strip().splitlines()
        return Sandbox(missing=f"bubblewrap does not work here ({said[-1] if said else 'it says nothing'})")
    except (OSError, subprocess.TimeoutExpired) as error:
        return Sandbox(missing=f"bubblewrap does not work here ({error})")
    return Sandbox(prefix)


def _in_container() -> bool:
    return any(map(os.path.exists, ("/.dockerenv", "/run/.containerenv")))


def _arguments(accelerator: bool) -> Iterator[str]:
    yield from ("--unshare-all", "--die-with-parent", "--proc", "/proc", "--tmpfs", "/tmp", "--chdir", "/tmp")
    yield from ("--dev-bind", "/dev", "/dev", "--ro-bind-try", "/sys", "/sys") if accelerator else ("--dev", "/dev")
    for path in _readable():  # after /tmp, in which they may lie
        yield from ("--ro-bind-try", path, path)
    yield from ("--remount-ro", "/")


def _readable() -> Iterator[str]:
    """Yield what an attempt may read, folders before what lies in them: never the checkout or the home as a whole."""
    interpreter = {Path(p) for p in (sys.prefix, sys.exec_prefix, sys.base_prefix, sys.base_exec_prefix)}
    paths = {p for path in interpreter | {ROOT / "lab"} for p in (path, path.resolve())}
    paths |= {Path(path).resolve() for path in sys.path if "-packages" in path}
    paths -= {ROOT, Path("/")}
    yield from dict.fromkeys([*_SYSTEM, *map(str, sorted(paths))])
