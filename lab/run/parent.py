"""The warm parent of kernels: whose it is, and the environment that they share."""

from __future__ import annotations

import atexit
import os
import threading
from collections.abc import Mapping

from lab.provenance import ROOT
from lab.run.forked import differences
from lab.run.preload import IDLE
from lab.warm import Warm

ADDRESS = "LAB_WARM"
# A person's start-up file; and what pytest sets, for which ipykernel would not catch what is printed.
_PERSONAL = ("PYTHONSTARTUP", "PYTEST_CURRENT_TEST")
_lock = threading.Lock()
_parents: dict[int, Warm] = {}


def warm_address(environment: Mapping[str, str]) -> str:
    """Return the address of the warm parent: the one that LAB_WARM names, or this process's own, started if need be.

    The one that LAB_WARM names has the environment of this process, as far as its kernels depend on it. For kernels
    in another, such as those of `lab run`, this process has its own.
    """
    named = os.environ.get(ADDRESS)
    return named if named and not differences(environment, os.environ) else own_parent(environment).address


def start_parent(environment: Mapping[str, str]) -> Warm:
    """Start a warm parent for kernels in that environment."""
    return Warm("lab.run.preload:preload", "lab.run.forked", later=IDLE, environment=environment)


def own_parent(environment: Mapping[str, str]) -> Warm:
    """Return this process's own warm parent, which ends with it; start it in the environment of its first kernel.

    One that has ended since it was ready is replaced; one that never was would end again.
    """
    with _lock:
        warm = _parents.get(os.getpid())  # a fork of this process cannot use its parent's
        if warm is None or (warm.ready and warm.ended):
            if warm is not None:
                warm.close()
            warm = _parents[os.getpid()] = start_parent(environment)
            atexit.register(_close, warm, os.getpid())
        return warm


def _close(warm: Warm, pid: int) -> None:
    if os.getpid() == pid:  # else this is a fork, and the parent is another's
        warm.close()


def kernel_environment(threads: int = 1) -> dict[str, str]:
    """Return the environment of kernels: this process's, with the same lab, and without a person's start-up files.

    A result must not depend on more than its key, so the threads of numeric libraries are counted and text has one
    hash, whatever the variables of this process say.
    """
    paths = [str(ROOT.parent), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    counted = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(threads))
    return {
        **{name: value for name, value in os.environ.items() if name not in _PERSONAL},
        **counted,
        "PYTHONHASHSEED": "0",
        "PYTHONPATH": os.pathsep.join(filter(None, dict.fromkeys(paths))),
    }
