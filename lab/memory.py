"""How much memory this process has used, as it sees it itself."""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path


def memory() -> dict[str, int]:
    """Return bytes: ``peak`` of what was resident, ``private`` what it shares with nobody, ``device`` its peak there.

    A process that was forked shares what its parent had; that counts as resident too. What is not known is left out.
    """
    found = {}
    with suppress(ImportError):  # there is none on Windows
        import resource

        unit = 1 if sys.platform == "darwin" else 1024
        found["peak"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    with suppress(OSError):  # systems other than Linux
        lines = Path("/proc/self/smaps_rollup").read_text("ascii").splitlines()
        found["private"] = sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Private_"))
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        found["device"] = sum(torch.cuda.max_memory_allocated(index) for index in range(torch.cuda.device_count()))
    return found
