"""A copy of the checkout, an engine, and the image of the CPU built there by the compose file that ships."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
IMAGE = "lab-test"  # beside whatever the engine has
UID = 12345 if os.geteuid() == 0 else os.geteuid()  # root plays one that neither this host nor the image knows


@dataclass(frozen=True)
class Answer:
    """What a command said and how long it took. out: standard output and error, as they came."""

    code: int
    out: str
    seconds: float


@dataclass(frozen=True)
class Host:
    """A checkout on a host with an engine. env: what compose and docker are told."""

    folder: Path
    env: dict[str, str] = field(repr=False)

    def type(self, *words: str, seconds: float = 600, **env: str) -> Answer:
        """Type a command there."""
        start = time.monotonic()
        done = subprocess.run(
            words, cwd=self.folder, env={**self.env, **env}, timeout=seconds, check=False, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        return Answer(done.returncode, done.stdout, time.monotonic() - start)

    def docker(self, *words: str) -> str:
        """Return what docker prints. Fails where docker does."""
        answer = self.type("docker", *words)
        assert answer.code == 0, answer.out
        return answer.out.strip()

    def compose(self, *words: str, **env: str) -> Answer:
        """Type a command of compose."""
        return self.type("docker", "compose", *words, **env)

    def run(self, service: str, *words: str) -> Answer:
        """Run a command in a container of a service, without a terminal, and remove the container."""
        return self.compose("run", "--rm", "--no-TTY", service, *words)

    @property
    def build(self) -> list[str]:
        """The words that build the image as compose does, to which an output is added."""
        epoch = re.search(r"^ARG (SOURCE_DATE_EPOCH=\d+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
        assert epoch
        words = ["docker", "buildx", "build", "--target", "lab", "--build-arg", epoch[1]]
        words += ["--build-context", f"wheelhouse={self.env['WHEELHOUSE']}"]
        for name in ("BASE", "TORCH_INDEX"):
            words += ["--build-arg", f"{name}={self.env[name]}"]
        return [*words, "--secret", f"id=cabundle,src={self.env['CABUNDLE']}"]


def _answers(env: dict[str, str], *words: str) -> str:
    done = subprocess.run(words, env=env, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""


@pytest.fixture(scope="session", name="engine")
def engine_fixture() -> Iterator[dict[str, str]]:
    """The environment in which docker has an engine: the host's, or one that is started here and ended afterwards."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("COMPOSE_", "LAB_", "JUPYTER"))}
    if _answers(env, "docker", "info"):
        yield env
        return
    folder = Path(tempfile.mkdtemp(prefix="lab-engine-"))
    env["LAB_ENGINE"] = str(folder)
    script = ["sh", str(HERE / "engine.sh")]
    try:
        started = subprocess.run([*script, "up"], env=env, capture_output=True, text=True, check=False)
        if started.returncode == 3:
            pytest.skip(started.stderr.strip())
        assert started.returncode == 0, started.stderr
        env |= {"DOCKER_HOST": started.stdout.strip(), "BASE": "lab-base"}
        made = subprocess.run([*script, "base"], env=env, capture_output=True, text=True, check=False)
        if made.returncode == 3:
            pytest.skip(made.stderr.strip())
        yield env
    finally:
        subprocess.run([*script, "down"], env=env, check=True)
        shutil.rmtree(folder)


def _at_hand(env: dict[str, str], empty: Path) -> dict[str, str]:
    """Return what the build takes from this machine: wheels that pip is told of, and its certificates."""
    pinned = re.search(r"^ARG BASE=(.*)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    named = re.search(r"^TORCH_INDEX \?= (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert pinned
    assert named
    places = _answers(env, sys.executable, "-m", "pip", "config", "get", "global.find-links")
    places = places or env.get("PIP_FIND_LINKS", "")
    wheels = next((place for place in places.split() if Path(place).is_dir()), "")
    return {
        "BASE": env.get("BASE", pinned[1]),
        "TORCH_INDEX": "" if wheels else named[1],
        "WHEELHOUSE": wheels or str(empty),
        "CABUNDLE": next((env[name] for name in ("PIP_CERT", "SSL_CERT_FILE") if name in env), "/dev/null"),
    }


@pytest.fixture(scope="session", name="host")
def host_fixture(engine: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """A copy of this checkout, owned by nobody, with the image built by the compose file that ships."""
    folder = Path(tempfile.mkdtemp(prefix="lab-checkout-"))
    listed = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, capture_output=True, text=True, check=True).stdout.split("\0")
    for name in filter(None, names):
        if (ROOT / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    for name in ("outputs", "workspace"):
        os.chown(folder / name, UID, UID)
    files = os.pathsep.join(["docker-compose.yml", "tests/images/compose.yml"])
    env = engine | _at_hand(engine, tmp_path_factory.mktemp("empty"))
    env |= {"COMPOSE_FILE": files, "COMPOSE_PROFILES": "cpu", "COMPOSE_PROJECT_NAME": "lab-test", "REVISION": "tested"}
    env |= {"LAB_IMAGE": IMAGE}
    env |= {
        "LAB_UID": str(UID),
        "LAB_GID": str(UID),
        "JUPYTER_PORT": "0",
        "REPORT_PORT": "0",
        "JUPYTER_TOKEN": "let me in",
    }
    made = Host(folder, env)
    try:
        built = made.compose("build", "lab")
        assert built.code == 0, built.out[-4000:]
        print(f"\nbuilt in {built.seconds:.0f} s")
        yield made
    finally:
        made.compose("--profile", "*", "down", "--volumes", "--timeout", "5")
        made.type("docker", "image", "rm", f"{IMAGE}:cpu", f"{IMAGE}:cuda")
        shutil.rmtree(folder)
