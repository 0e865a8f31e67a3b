"""What a result depends on besides its source and parameters: the lock, the lab's own code, the installed versions."""

from __future__ import annotations

import platform
import sys
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import lab
from lab.store import digest

ROOT = Path(lab.__file__).parent
LOCKS = ROOT.parent / "requirements"
_VERSIONS = ("torch", "numpy", "matplotlib", "ipykernel")


def lock() -> dict[str, str]:
    """Return where the pinned versions are written and their digest; where they are not those installed, these count.

    Looked at are the packages that compute and draw, which results could show.
    """
    versions = {name: _version(name) for name in _VERSIONS}
    variant = "cpu" if versions["torch"].endswith("+cpu") else "cuda"
    file = LOCKS / f"{variant}.txt"
    # A lock that something else was installed over, such as another torch in a test matrix, pinned nothing.
    if file.is_file() and all(f"\n{name}=={version} " in file.read_text("utf-8") for name, version in versions.items()):
        return {"source": f"requirements/{variant}.txt", "digest": digest(file.read_bytes())}
    return {"source": "installed", "digest": digest(versions)}


@cache
def code() -> str:
    """Return the digest of the lab's own sources, which a kernel imports: another commit may give other results."""
    files = sorted(ROOT.rglob("*.py"))
    return digest({str(file.relative_to(ROOT)): digest(file.read_bytes()) for file in files})


def installed(device: str | None) -> dict[str, Any]:
    """Return what is known of the environment without asking a kernel, which runs in this interpreter's like."""
    return {
        "device": device,
        "torch": _version("torch"),
        "python": platform.python_version(),
        "platform": f"{sys.platform}-{platform.machine()}",
    }


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "absent"
