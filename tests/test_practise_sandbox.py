"""The sandbox: what an attempt sees of this machine, and what is said where there is none."""

import subprocess
import sys

import pytest

from lab.errors import UsageError
from lab.practise import sandbox as module
from lab.practise.sandbox import find_sandbox
from lab.warm import ROOT


@pytest.fixture(autouse=True)
def forgetful():
    """Look anew in every test, and after it."""
    module._find.cache_clear()
    yield
    module._find.cache_clear()


def run(code):
    sandbox = find_sandbox()
    if sandbox.missing:
        pytest.skip(f"there is no sandbox: {sandbox.missing}")
    command = [*sandbox.prefix, sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, env=sandbox.environment, check=False)
    return done.stdout + done.stderr


def test_the_interpreter_and_torch_are_there():
    assert run("import torch; print(torch.tensor(2.0) * 3)") == "tensor(6.)\n"


def test_of_the_checkout_only_the_lab_is_there():
    seen = run(f"import os; print(sorted(os.listdir({str(ROOT)!r})))")
    assert "lab" in seen
    assert not [name for name in ("tests", "workspace", ".git", "README.md") if f"'{name}'" in seen]


@pytest.mark.parametrize("folder", [str(ROOT / "lab"), "/usr", "/"])
def test_nothing_can_be_written_but_in_a_temporary_folder(folder):
    assert "Read-only file system" in run(f"open({folder + '/written'!r}, 'w')")
    assert run("open('/tmp/written', 'w').write('x'); print(open('/tmp/written').read())") == "x\n"


def test_no_other_process_is_seen():
    assert (
        run("import os; print(os.getpid() < 5, sum(name.isdigit() for name in os.listdir('/proc')) < 5)")
        == "True True\n"
    )


def test_the_environment_is_cleared_but_for_what_torch_reads(monkeypatch):
    monkeypatch.setenv("AWS_SECRET", "1")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert run("import os; print('AWS_SECRET' in os.environ, os.environ['OMP_NUM_THREADS'])") == "False 1\n"


def test_without_bubblewrap_it_is_said_and_may_be_refused(monkeypatch):
    monkeypatch.setattr(module.shutil, "which", lambda _: None)
    monkeypatch.setattr(module, "_in_container", lambda: False)
    assert find_sandbox().missing == "bubblewrap is not installed"
    assert find_sandbox().prefix == ()
    with pytest.raises(UsageError, match="bubblewrap is not installed"):
        find_sandbox(required=True)


def test_in_a_container_the_container_is_named(monkeypatch):
    monkeypatch.setattr(module.shutil, "which", lambda _: None)
    monkeypatch.setattr(module, "_in_container", lambda: True)
    assert "container" in find_sandbox().missing


def test_a_bubblewrap_that_does_not_work_is_not_used(monkeypatch, tmp_path):
    broken = tmp_path / "bwrap"
    broken.write_text("#!/bin/sh\necho 'bwrap: No permissions to create new namespace' >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setattr(module.shutil, "which", lambda _: str(broken))
    assert find_sandbox().missing == "bubblewrap does not work here (bwrap: No permissions to create new namespace)"
