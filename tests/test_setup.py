"""requirements/setup.sh, run for real against a Python, a pip and an nvidia-smi that only pretend."""

import fcntl
import re
import shutil
import subprocess
import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LOCK = """\
rich==1.0 \\
    --hash=sha256:aa
torch==2.13.0+cpu \\
    --hash=sha256:bb \\
    --hash=sha256:cc
    # via gradient-lab
tqdm==2.0 \\
    --hash=sha256:dd
"""
TOOLS = ("sh", "dirname", "cksum", "cat", "sed", "grep", "mv", "rm", "mkdir", "cp", "id")
PYTHON = """\
#!/bin/sh
case "$*" in
*version_info*) echo "${VERSION:-3.12.1}" ;;
*ensurepip*) exit "${WITHOUT_VENV:-0}" ;;
"-m venv .venv") mkdir -p .venv/bin && cp "$0" .venv/bin/python && echo "venv" >>"$JOURNAL" ;;
"-m pip "*)
    echo "$*" >>"$JOURNAL"
    if [ -n "$REFUSES" ] && echo "$*" | grep -q -e "$REFUSES"; then echo "pip says no"; exit 1; fi ;;
esac
"""
GPU = '#!/bin/sh\necho asked >>"$JOURNAL"\necho "GPU 0: NVIDIA H100 (UUID: GPU-1)"\n'


@dataclass
class Checkout:
    """A copy of what setup.sh needs, and a PATH on which nothing else lies."""

    root: Path

    def program(self, name: str, script: str) -> None:
        path = self.root / "bin" / name
        path.unlink(missing_ok=True)
        path.write_text(script)
        path.chmod(0o755)

    def start(self, *arguments: str, **env: str) -> subprocess.Popen[str]:
        programs = str(self.root / "bin")
        return subprocess.Popen(
            [f"{programs}/sh", str(self.root / "requirements/setup.sh"), *arguments],
            env={"PATH": programs, "JOURNAL": str(self.root / "journal"), "REFUSES": "", **env},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str, **env: str) -> tuple[int, str, str]:
        process = self.start(*arguments, **env)
        out, err = process.communicate(timeout=30)
        return process.returncode, out, err

    def journal(self) -> list[str]:
        """What was made, installed and asked since the last look."""
        path = self.root / "journal"
        lines = path.read_text().splitlines() if path.exists() else []
        path.unlink(missing_ok=True)
        return lines

    def set_up(self, *arguments: str, **env: str) -> "Checkout":
        assert self.run(*arguments, **env)[0] == 0
        self.journal()
        return self


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    made = Checkout(tmp_path / "größe 空 lab")
    for folder in ("bin", "requirements"):
        (made.root / folder).mkdir(parents=True)
    shutil.copy(ROOT / "requirements/setup.sh", made.root / "requirements")
    (made.root / "requirements/cpu.txt").write_text(LOCK)
    (made.root / "requirements/cuda.txt").write_text(LOCK.replace("+cpu", ""))
    (made.root / "requirements/dev.txt").write_text("pytest==9.2.0 --hash=sha256:00\n")
    (made.root / "pyproject.toml").write_text("[project]\n")
    for tool in TOOLS:
        (made.root / "bin" / tool).symlink_to(shutil.which(tool) or f"/bin/{tool}")
    made.program("python3", PYTHON)
    made.program("uname", "#!/bin/sh\necho Linux\n")
    return made


def test_fresh_checkout_installs_torch_alone_then_the_rest_then_the_lab(checkout: Checkout) -> None:
    code, out, err = checkout.run("auto")
    assert (code, out) == (0, "setup: ready (cpu), next: make lesson\n")
    assert "about 190 MB" in err
    venv, torch, rest, lab = checkout.journal()
    assert venv == "venv"
    assert torch.endswith("--retries 0 --timeout 15 --requirement .venv/torch.txt")
    assert rest.endswith("--requirement .venv/rest.txt --requirement requirements/dev.txt")
    assert lab.endswith("--no-deps --no-build-isolation --editable .")
    for call in (torch, rest):
        assert "--no-deps --require-hashes --only-binary :all:" in call
    pins = {name: (checkout.root / f".venv/{name}.txt").read_text() for name in ("torch", "rest")}
    assert pins["torch"].count("--hash") == 2
    assert pins["torch"].startswith("torch==2.13.0+cpu")
    assert re.findall(r"^\w+(?===)", pins["rest"], re.MULTILINE) == ["rich", "tqdm"]


def test_second_time_starts_neither_python_nor_nvidia_smi(checkout: Checkout) -> None:
    checkout.set_up("auto").program("nvidia-smi", GPU)
    assert checkout.run("auto") == (0, "setup: ready (cpu), next: make lesson\n", "")
    assert checkout.journal() == []


@pytest.mark.parametrize("lock", ["cpu", "dev"])
def test_changed_lock_makes_the_venv_anew(checkout: Checkout, lock: str) -> None:
    checkout.set_up("auto")
    (checkout.root / f"requirements/{lock}.txt").write_text(LOCK.replace("2.0", "2.1"))
    assert checkout.run("auto")[0] == 0
    assert checkout.journal()[0] == "venv"


def test_changed_lock_of_the_other_variant_changes_nothing(checkout: Checkout) -> None:
    checkout.set_up("auto")
    (checkout.root / "requirements/cuda.txt").write_text("")
    assert checkout.run("auto")[0] == 0
    assert checkout.journal() == []


def test_changed_project_file_reinstalls_only_the_lab(checkout: Checkout) -> None:
    checkout.set_up("auto")
    (checkout.root / "pyproject.toml").write_text("[project]\nname = 'lab'\n")
    assert checkout.run("auto")[0] == 0
    (only,) = checkout.journal()
    assert only.endswith("--editable .")


@pytest.mark.parametrize(("argument", "env"), [("cuda", {}), ("auto", {"PYTHON": "python3"})])
def test_other_request_makes_the_venv_anew(checkout: Checkout, argument: str, env: dict[str, str]) -> None:
    checkout.set_up("auto")
    assert checkout.run(argument, **env)[0] == 0
    assert checkout.journal()[0] == "venv"
    assert checkout.run(argument, **env)[0] == 0
    assert checkout.journal() == []


def test_moved_checkout_makes_the_venv_anew(checkout: Checkout) -> None:
    checkout.set_up("auto")
    moved = Checkout(checkout.root.rename(checkout.root.with_name("elsewhere")))
    assert moved.run("auto")[0] == 0
    assert moved.journal()[0] == "venv"


def test_vanished_interpreter_makes_the_venv_anew(checkout: Checkout) -> None:
    checkout.set_up("auto")
    (checkout.root / ".venv/bin/python").unlink()
    assert checkout.run("auto")[0] == 0
    assert checkout.journal()[0] == "venv"


def test_interrupted_set_up_is_repaired(checkout: Checkout) -> None:
    assert checkout.run("auto", REFUSES="rest.txt")[0] == 5
    checkout.journal()
    assert checkout.run("auto")[0] == 0
    assert checkout.journal()[0] == "venv"


def test_variant_asked_for_by_name_outlives_a_changed_lock(checkout: Checkout) -> None:
    checkout.set_up("cpu").program("nvidia-smi", GPU)
    (checkout.root / "requirements/cpu.txt").write_text(LOCK.replace("2.0", "2.1"))
    assert checkout.run("auto")[1] == "setup: ready (cpu), next: make lesson\n"


def test_python_asked_for_by_name_outlives_a_changed_lock(checkout: Checkout) -> None:
    checkout.program("python3.13", PYTHON.replace("3.12.1", "3.13.0"))
    checkout.set_up("auto", PYTHON="python3.13")
    (checkout.root / "requirements/cpu.txt").write_text(LOCK.replace("2.0", "2.1"))
    assert "making .venv with Python 3.13.0" in checkout.run("auto")[2]


def test_cuda_lock_is_installed_in_one_step(checkout: Checkout) -> None:
    assert checkout.run("cuda")[1] == "setup: ready (cuda), next: make lesson\n"
    venv, everything, _lab = checkout.journal()
    assert venv == "venv"
    assert everything.endswith("--requirement requirements/cuda.txt --requirement requirements/dev.txt")


def test_torch_comes_from_its_index_where_pip_does_not_know_it(checkout: Checkout) -> None:
    assert checkout.run("auto", REFUSES="--retries 0", TORCH_INDEX="https://index.invalid/cpu")[0] == 0
    _venv, _own, index, rest, _lab = checkout.journal()
    assert index.endswith("--index-url https://index.invalid/cpu --requirement .venv/torch.txt")
    assert "--index-url" not in rest


def test_torch_found_nowhere_is_one_clear_error(checkout: Checkout) -> None:
    code, out, err = checkout.run("auto", REFUSES="torch.txt", TORCH_INDEX="https://index.invalid/cpu")
    assert (code, out) == (5, "")
    assert err.count("pip says no") == 1
    last = err.splitlines()[-1]
    assert "TORCH_INDEX=https://index.invalid/cpu" in last
    assert "make setup TORCH_INDEX=URL" in last


@pytest.mark.parametrize("step", ["rest.txt", "--editable"])
def test_failing_pip_shows_its_words(checkout: Checkout, step: str) -> None:
    code, _out, err = checkout.run("auto", REFUSES=step)
    assert code == 5
    assert "pip says no" in err
    assert "type make setup again" in err.splitlines()[-1]


def test_no_python_is_one_sentence(checkout: Checkout) -> None:
    (checkout.root / "bin/python3").unlink()
    code, out, err = checkout.run("auto")
    assert (code, out) == (2, "")
    assert err.startswith("setup: no Python was found that runs, and the lab needs Python 3.11 to 3.14")
    assert err.count("\n") == 1
    assert not (checkout.root / ".venv").exists()


@pytest.mark.parametrize(
    ("env", "said"),
    [
        ({"VERSION": "2.7.18"}, "python3 is Python 2.7.18"),
        ({"VERSION": "3.10.13"}, "python3 is Python 3.10.13"),
        ({"VERSION": "3.15.0"}, "python3 is Python 3.15.0"),
        ({"WITHOUT_VENV": "1"}, "python3 is Python 3.12.1 without venv or ensurepip"),
        ({"PYTHON": "python9"}, "no python9 was found that runs"),
    ],
)
def test_unfit_python_is_named(checkout: Checkout, env: dict[str, str], said: str) -> None:
    code, _out, err = checkout.run("auto", **env)
    assert code == 2
    assert err.startswith(f"setup: {said}, and the lab needs")
    assert err.count("\n") == 1


def test_python_that_does_not_run_is_passed_over(checkout: Checkout) -> None:
    checkout.program("python3", "#!/bin/sh\necho 'pyenv: command not found' >&2\nexit 127\n")
    checkout.program("python3.13", PYTHON)
    code, _out, err = checkout.run("auto", VERSION="3.13.0")
    assert code == 0
    assert "Python 3.13.0" in err


def test_accepted_pythons_are_the_project_s() -> None:
    script = (ROOT / "requirements/setup.sh").read_text()
    accepted = [int(minor) for minor in re.findall(r"\b3\.(\d+)\.\*", script)]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["requires-python"] == f">=3.{accepted[0]},<3.{accepted[-1] + 1}"
    assert accepted == list(range(accepted[0], accepted[-1] + 1))


def test_unknown_variant_lists_the_known(checkout: Checkout) -> None:
    code, _out, err = checkout.run("rocm")
    assert code == 2
    assert "VARIANT=rocm is unknown; expected auto, cpu or cuda" in err


@pytest.mark.parametrize(
    ("driver", "variant"),
    [
        (GPU, "cuda"),
        ("#!/bin/sh\necho 'No devices found.'\n", "cpu"),
        ('#!/bin/sh\necho "couldn\'t communicate with the NVIDIA driver"\nexit 9\n', "cpu"),
        (None, "cpu"),
    ],
)
def test_auto_takes_cuda_where_a_driver_answers(checkout: Checkout, driver: str | None, variant: str) -> None:
    if driver:
        checkout.program("nvidia-smi", driver)
    assert checkout.run("--print-variant", "auto") == (0, f"{variant}\n", "")
    assert not (checkout.root / ".venv").exists()


def test_macos_takes_the_lock_that_has_its_wheel(checkout: Checkout) -> None:
    checkout.program("uname", "#!/bin/sh\necho Darwin\n")
    assert checkout.run("--print-variant", "cpu")[1] == "cuda\n"
    checkout.set_up("cpu")
    assert checkout.run("cpu")[0] == 0
    assert checkout.journal() == []


def test_foreign_venv_is_left_alone(checkout: Checkout) -> None:
    theirs = checkout.root / ".venv/bin/python"
    theirs.parent.mkdir(parents=True)
    theirs.write_text("theirs")
    code, _out, err = checkout.run("auto")
    assert code == 2
    assert "move it away" in err
    assert theirs.read_text() == "theirs"


needs_flock = pytest.mark.skipif(not shutil.which("flock"), reason="no flock here, so setup.sh does not lock")


@needs_flock
def test_finished_set_up_is_ready_while_another_holds_the_lock(checkout: Checkout) -> None:
    (checkout.root / "bin/flock").symlink_to(shutil.which("flock") or "")
    checkout.set_up("auto")
    with (checkout.root / "requirements/setup.sh").open() as script:
        fcntl.flock(script, fcntl.LOCK_EX)
        assert checkout.run("auto") == (0, "setup: ready (cpu), next: make lesson\n", "")


@needs_flock
def test_second_set_up_waits_for_the_first(checkout: Checkout) -> None:
    (checkout.root / "bin/flock").symlink_to(shutil.which("flock") or "")
    with (checkout.root / "requirements/setup.sh").open() as script:
        fcntl.flock(script, fcntl.LOCK_EX)
        second = checkout.start("auto")
        assert second.stderr is not None
        assert "waiting for it" in second.stderr.readline()
        assert checkout.journal() == []
    assert second.communicate(timeout=30)[0] == "setup: ready (cpu), next: make lesson\n"
    assert checkout.journal()[0] == "venv"
