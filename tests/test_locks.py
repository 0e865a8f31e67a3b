"""The locks are complete, exact, address-free, and agree wherever CUDA is not concerned."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
VARIANTS = ("cpu", "cuda")  # what the lab needs
LOCKS = (*VARIANTS, "dev", "image")  # what its development needs on top; what builds an image
CUDA_ONLY = re.compile(r"torch|triton|cuda-|nvidia-")


def entries(lock: str) -> list[str]:
    """The lock's entries, each with its hashes on one line."""
    lines = (ROOT / f"requirements/{lock}.txt").read_text().splitlines()
    text = "\n".join(line for line in lines if not line.lstrip().startswith("#"))
    return text.replace("\\\n", "").splitlines()


def name(requirement: str) -> str:
    found = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert found, f"no package is named in {requirement!r}"
    return re.sub(r"[-_.]+", "-", found[0]).lower()


def project() -> dict[str, list[str]]:
    """Each list of requirements in pyproject.toml, by the name of its extra."""
    table = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return {"": table["dependencies"], **table["optional-dependencies"]}


@pytest.mark.parametrize("lock", LOCKS)
def test_every_entry_is_an_exact_pin_with_hashes(lock: str) -> None:
    pins = entries(lock)
    assert len(pins) > (100 if lock in VARIANTS else 10)
    pin = re.compile(r"[a-z0-9-]+==[^\s;]+( ; [^\\]+?)?(\s+--hash=sha256:[0-9a-f]{64})+")
    assert [entry for entry in pins if not pin.fullmatch(entry)] == []


@pytest.mark.parametrize("lock", LOCKS)
def test_lock_names_no_address(lock: str) -> None:
    text = (ROOT / f"requirements/{lock}.txt").read_text()
    assert re.findall(r"\S+://\S+|^\s*--(?!hash).*|@ .*", text, re.MULTILINE) == []


@pytest.mark.parametrize("variant", VARIANTS)
def test_locks_have_all_that_the_project_asks_for(variant: str) -> None:
    locked = {name(entry) for lock in (variant, "dev") for entry in entries(lock)}
    asked = {name(requirement) for requirements in project().values() for requirement in requirements}
    assert asked - locked == set()


@pytest.mark.parametrize("variant", VARIANTS)
def test_what_runs_needs_nothing_of_the_development_s_lock(variant: str) -> None:
    names = {name(entry) for entry in entries(variant)}
    asked = {name(requirement) for extra in ("", "jupyter", "dask", "deep") for requirement in project()[extra]}
    assert asked - names == set()
    assert names & {name(entry) for entry in entries("dev")} == set()


def test_locks_agree_outside_cuda() -> None:
    cpu, cuda = ({e for e in entries(variant) if not CUDA_ONLY.match(e)} for variant in VARIANTS)
    assert cpu == cuda


def test_cpu_lock_has_no_cuda_package() -> None:
    assert [name(entry) for entry in entries("cpu") if CUDA_ONLY.match(entry)] == ["torch"]


def test_locks_pin_one_torch_the_cpu_s_with_all_its_linux_wheels() -> None:
    (cpu,) = (entry for entry in entries("cpu") if name(entry) == "torch")
    (cuda,) = (entry for entry in entries("cuda") if name(entry) == "torch")
    version = cuda.split()[0].removeprefix("torch==")
    assert cpu.split()[0] == f"torch=={version}+cpu"
    assert f"torch={version}\n" in (ROOT / "requirements/lock.sh").read_text()
    pythons, machines = 4, 2
    assert cpu.count("--hash") >= pythons * machines
