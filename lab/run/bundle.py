"""A finished run as bytes, so that whoever ran it needs no disk in common with whoever keeps it.

A zip file holds plain data: nothing in it is executed or unpickled where it is opened.
"""

from __future__ import annotations

import io
import json
import zipfile
import zlib
from pathlib import Path
from typing import Any

from lab.errors import ExecutionError
from lab.store import storage_errors

LARGEST = 512_000_000  # bytes of the files of one run that travel
_RUN = "run.json"


def pack(folder: Path) -> bytes:
    """Return the files of a run. Links and pipes stay behind, as do files that its cells made unreadable.

    Raises: ExecutionError where they are too large to travel.
    """
    files = sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    if (size := sum(path.stat().st_size for path in files)) > LARGEST:
        raise ExecutionError(
            f"The run left {size:,} bytes of files.",
            f"Expected at most {LARGEST:,}, for they travel from where it ran.",
            "Let the notebook write less, or run it without --dask.",
        )
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1, strict_timestamps=False) as archive:
        for path in files:
            try:
                archive.write(path, path.relative_to(folder))
            except PermissionError:
                continue
    return buffer.getvalue()


def unpack(bundle: bytes, folder: Path, *, key: str) -> dict[str, Any]:
    """Write the files of a run into a folder and return its record. key: the one it must have.

    Raises: ExecutionError for what is no such bundle; StorageError.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(bundle)) as archive:
            if sum(each.file_size for each in archive.infolist()) > LARGEST:
                raise ValueError("it is too large")
            record: dict[str, Any] = json.loads(archive.read(_RUN))
            if record["key"] != key:
                raise ValueError("it is another run's")
            with storage_errors(folder):
                archive.extractall(folder)  # which keeps names inside the folder
    except (zipfile.BadZipFile, LookupError, TypeError, ValueError, NotImplementedError, EOFError, zlib.error) as error:
        raise ExecutionError(
            f"What a worker returned is no result of {key}: {error}.",
            "Expected the files of that run.",
            "Run the same version of the lab on every machine.",
        ) from None
    return record
