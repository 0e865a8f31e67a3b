"""What `make image` and `make up` have an engine do, played by programs that only say what they were asked."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
TOOLS = ("sh", "dirname", "grep", "cat", "sed", "git", "mkdir", "stat", "timeout", "id")
DOCKER = '#!/bin/sh\necho "docker $* with $COMPOSE_PROFILES" >>"$SAID"\n'
GPU = "#!/bin/sh\necho 'GPU 0: NVIDIA H100 (UUID: GPU-1)'\n"


def host(tmp_path: Path, *words: str, **programs: str) -> tuple[int, str, str]:
    """Return exit code, standard error, and what docker was asked, on a host that has these programs alone."""
    programs = {"uname": "#!/bin/sh\necho Linux\n"} | programs
    for tool in TOOLS:
        if found := shutil.which(tool):
            (tmp_path / tool).symlink_to(found)
    for name, text in programs.items():
        (tmp_path / name.replace("_", "-")).write_text(text)
        (tmp_path / name.replace("_", "-")).chmod(0o755)
    said = tmp_path / "said"
    said.touch()
    env = {"PATH": str(tmp_path), "SAID": str(said), "HOME": os.environ.get("HOME", "/")}
    command = ["sh", str(ROOT / "containers/host.sh"), *words]
    done = subprocess.run(command, env=env, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    return done.returncode, done.stderr, said.read_text()


def test_without_an_engine_it_says_what_to_do(tmp_path: Path) -> None:
    code, err, _ = host(tmp_path, "up")
    assert code == 2
    assert "Docker is not installed" in err
    assert "make lesson needs none" in err


@pytest.mark.parametrize(
    ("words", "programs", "built"),
    [
        (["image"], {}, "lab-cpu"),
        (["image", "cuda"], {}, "lab-cuda"),  # to be run elsewhere
        (["image", "auto"], {"nvidia_smi": GPU}, "lab-cuda"),
        (["image", "cpu"], {"nvidia_smi": GPU}, "lab-cpu"),
        (["image", "auto"], {"uname": "#!/bin/sh\necho Darwin\n"}, "lab-cpu"),
        (["image", "cpu"], {"uname": "#!/bin/sh\necho Darwin\n"}, "lab-cpu"),
    ],
)
def test_the_image_is_that_of_the_host_or_the_one_asked_for(
    tmp_path: Path, words: list[str], programs: dict[str, str], built: str
) -> None:
    code, err, said = host(tmp_path, *words, docker=DOCKER, **programs)
    assert code == 0, err
    assert f"buildx bake --file docker-bake.hcl --load {built} with" in said


def test_a_gpu_that_is_not_there_is_refused_before_anything_is_built(tmp_path: Path) -> None:
    code, err, said = host(tmp_path, "up", "cuda", docker=DOCKER)
    assert (code, said) == (2, "")
    assert "make up VARIANT=cpu" in err


@pytest.mark.parametrize(("programs", "profile", "end"), [({}, "cpu", ""), ({"nvidia_smi": GPU}, "cuda", "-cuda")])
def test_up_starts_the_services_of_the_host_and_then_the_tour(
    tmp_path: Path, programs: dict[str, str], profile: str, end: str
) -> None:
    code, err, said = host(tmp_path, "up", docker=DOCKER, **programs)
    assert code == 0, err
    asked = said.splitlines()
    assert f"docker compose up --build --detach --wait jupyter{end} report{end} with {profile}" in asked
    assert asked[-1] == f"docker compose run --rm tour{end} with {profile}"


def test_a_wrong_word_is_refused(tmp_path: Path) -> None:
    assert host(tmp_path, "up", "gpu", docker=DOCKER)[0] == 2
    shutil.rmtree(tmp_path)
    tmp_path.mkdir()
    assert host(tmp_path, "fly", docker=DOCKER)[0] == 2
