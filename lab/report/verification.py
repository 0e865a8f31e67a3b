"""A verification under outputs/verify/: verify.json, junit.xml and the heat map page."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from lab.device import environment
from lab.prove.case import Selection
from lab.prove.golden import PATH as GOLDEN
from lab.prove.junit import to_junit
from lab.prove.verification import Verification
from lab.prove.verify import Target
from lab.provenance import code, lock
from lab.report.heat_map import verification_page
from lab.store import digest, publishing, write_json


def verification_key(selection: Selection, target: Target) -> str:
    """Return the digest of all that a verification depends on."""
    asked = asdict(selection)
    machine = [target.device, target.backend.name, target.ieee, environment(target.device)]
    return digest([asked, machine, lock()["digest"], code(), digest(GOLDEN.read_bytes())])


def publish_verification(found: Verification, outputs: Path, key: str, *, seconds: float) -> Path:
    """Write all files of a verification and publish them in one rename. Returns the folder. Raises: StorageError."""
    result = {"key": key, "lock": lock(), "timing": {"seconds": round(seconds, 3)}, **found.to_json()}
    with publishing(outputs, "verify", key) as publication:
        publication.write("verify.json", write_json(result))
        publication.write("junit.xml", to_junit(found))
        publication.write("index.html", verification_page(result))
    assert publication.path is not None
    return publication.path
