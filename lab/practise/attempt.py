"""The process of one attempt: forked by its referee, limited, and ended by it.

Standard output belongs to the learner, in the first trial. What was observed goes back as one line of JSON on a
socket, which, unlike a pipe, no other process can open through /proc.
"""

from __future__ import annotations

import ctypes
import faulthandler
import json
import math
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from lab.practise.trial import Observation, Trial
from lab.warm import ROOT, end_with_parent, read_line

OUTPUT_LIMIT = 1_000_000  # bytes kept of what the attempt prints; as much again for its answer
_FILE_LIMIT = 100 * OUTPUT_LIMIT
_NEWUSER, _NEWNS = 0x10000000, 0x00020000  # from <linux/sched.h>
_MEMORY_LIMIT = 2 << 30  # bytes beside what the warm parent has mapped

Observe = Callable[[list[Trial]], Iterable[Observation]]


def live(
    observe: Observe,
    answers: socket.socket,
    printed: int,
    trace: int,
    *,
    limit_s: float,
    on_cpu: bool,
    isolated: bool,
) -> NoReturn:
    """Be the attempt's process: read the trials, observe, answer, end.

    printed: what standard output and error become. trace: where the line goes at which the time was up. isolated:
    whether a sandbox is around it.
    """
    try:
        end_with_parent()
        os.setsid()
        # The referee ends this process at the limit. Where the referee is no more and cannot, the kernel does.
        signal.alarm(math.ceil(limit_s) + 2)
        _keep_only(answers, printed, trace)
        if isolated:
            _take_own_tmp()
        _limit(on_cpu)
        import torch

        torch.set_num_threads(1)  # trials are tiny
        trials = [Trial(**trial) for trial in json.loads(read_line(answers))]
        faulthandler.dump_traceback_later(limit_s, file=trace)
        observations = []
        for observation in observe(trials):
            observations.append(observation)
            _silence()
        faulthandler.cancel_dump_traceback_later()
        with suppress(BrokenPipeError):
            answers.sendall(json.dumps([observation.to_json() for observation in observations]).encode() + b"\n")
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(1)  # the answer counts, not the code


def _keep_only(answers: socket.socket, printed: int, trace: int) -> None:
    """Leave open nothing but standard input, which is empty, standard output and error, and the ways back."""
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    for stream in (1, 2):
        os.dup2(printed, stream)
    kept = sorted({2, answers.fileno(), trace})
    for low, high in zip(kept, [*kept[1:], os.sysconf("SC_OPEN_MAX")], strict=True):
        os.closerange(low + 1, min(high, 1 << 16))


def lies_below_tmp() -> bool:
    """Say whether what Python may still import lies where an attempt's own folder would cover it."""
    places = (ROOT, Path(sys.prefix), Path(sys.base_prefix))
    return any(place.resolve().is_relative_to("/tmp") for place in places)


def _take_own_tmp() -> None:
    """Put an empty folder of limited size over /tmp, which the attempts of a sandbox would share, for this one alone.

    It takes a user namespace of its own to mount one in, see user_namespaces(7). Where the kernel gives none, or the
    interpreter itself lies below /tmp, what is shared stays shared.
    """
    if lies_below_tmp():
        return
    libc, uid, gid = ctypes.CDLL(None, use_errno=True), os.getuid(), os.getgid()
    if libc.unshare(_NEWUSER | _NEWNS):
        return
    with suppress(OSError):
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{uid} {uid} 1")
        Path("/proc/self/gid_map").write_text(f"{gid} {gid} 1")
        for folder in (b"/tmp", b"/dev/shm"):
            libc.mount(b"tmpfs", folder, b"tmpfs", 0, f"size={_FILE_LIMIT}".encode())
        os.chdir("/tmp")


def _silence() -> None:
    """Let nothing more be printed: a learner wants to see it once, not once a trial."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(nothing, stream)
    os.close(nothing)


def _limit(on_cpu: bool) -> None:
    """Limit files and memory. An accelerator's driver maps more than any limit, so there memory has none."""
    import resource

    for kind, size in ((resource.RLIMIT_CORE, 0), (resource.RLIMIT_FSIZE, _FILE_LIMIT)):
        _lower(kind, size)
    if on_cpu and sys.platform == "linux":
        mapped = int(Path("/proc/self/statm").read_text("ascii").split()[0]) * resource.getpagesize()
        _lower(resource.RLIMIT_AS, mapped + _MEMORY_LIMIT)


def _lower(kind: int, size: int) -> None:
    import resource

    hard = resource.getrlimit(kind)[1]
    size = size if hard == resource.RLIM_INFINITY else min(size, hard)
    resource.setrlimit(kind, (size, size))
