from pathlib import Path

import pytest

from lab import provenance
from lab.provenance import code, installed, lock


def pins(**changed: str) -> str:
    versions = {name: provenance._version(name) for name in provenance._VERSIONS} | changed
    return "# made by make lock\n" + "".join(
        f"{name}=={version} \\\n    --hash=sha256:0\n" for name, version in versions.items()
    )


@pytest.fixture
def locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(provenance, "LOCKS", tmp_path)
    return tmp_path


@pytest.mark.parametrize("variant", ["cpu.txt", "cuda.txt"])
def test_the_lock_counts_where_it_is_what_is_installed(locks: Path, variant: str) -> None:
    wanted = "cpu.txt" if provenance._version("torch").endswith("+cpu") else "cuda.txt"
    (locks / variant).write_text(pins(), encoding="utf-8")
    assert lock()["source"] == (f"requirements/{variant}" if variant == wanted else "installed")


def test_a_lock_that_something_else_was_installed_over_pinned_nothing(locks: Path) -> None:
    for variant in ("cpu.txt", "cuda.txt"):
        (locks / variant).write_text(pins(numpy="0.1"), encoding="utf-8")
    assert lock()["source"] == "installed"


def test_another_version_gives_another_digest(locks: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = lock()
    assert before == lock()
    monkeypatch.setattr(provenance, "_version", lambda name: "9.9")
    assert lock()["digest"] != before["digest"]


def test_code_is_the_digest_of_the_sources() -> None:
    assert code() == code()
    assert len(code()) == 16


def test_what_is_not_installed_is_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    assert provenance._version("no-such-package") == "absent"
    assert installed("cpu")["torch"] == provenance._version("torch")
