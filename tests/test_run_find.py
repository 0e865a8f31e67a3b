"""Which run a word means."""

from __future__ import annotations

from pathlib import Path

import pytest
from fixtures.runs import write_run

from lab.errors import UsageError
from lab.run.find import find_notebook, find_run
from lab.run.index import read_runs

ONE, TWO = "a1" + "0" * 14, "a2" + "0" * 14


@pytest.fixture
def outputs(tmp_path: Path) -> Path:
    outputs = tmp_path / "outputs"
    write_run(outputs, "nb", key=ONE, day=1)
    write_run(outputs, "nb", key=TWO, day=2)
    write_run(outputs, "nb", key=ONE, day=3)
    write_run(outputs, "other", key=TWO, day=4)
    return outputs


def found(word: str, outputs: Path) -> str:
    run = find_run(word, read_runs(outputs), outputs)
    assert run.path.resolve().parent.parent == outputs
    return run.name


@pytest.mark.parametrize(
    ("word", "name"),
    [
        (ONE, f"nb/{ONE}"),
        (f"{ONE}-2", f"nb/{ONE}-2"),
        ("a1", f"nb/{ONE}"),
        ("a10-2", f"nb/{ONE}-2"),
        (f"nb/{TWO}", f"nb/{TWO}"),
        ("nb/a2", f"nb/{TWO}"),
        ("other/a", f"other/{TWO}"),
        ("nb/latest", f"nb/{ONE}-2"),
        ("nb", f"nb/{ONE}-2"),
        ("other/latest", f"other/{TWO}"),
    ],
)
def test_a_word_names_a_run(outputs: Path, word: str, name: str) -> None:
    assert found(word, outputs) == name


def test_a_folder_names_its_run_also_through_a_link_and_from_within(
    outputs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert found(str(outputs / "nb" / TWO), outputs) == f"nb/{TWO}"
    assert found(str(outputs / "nb" / "latest"), outputs) == f"nb/{ONE}-2"
    monkeypatch.chdir(outputs / "nb" / TWO)
    assert found(".", outputs) == f"nb/{TWO}"


def test_latest_without_its_link_is_the_newest(outputs: Path) -> None:
    (outputs / "nb" / "latest").unlink()
    assert found("nb/latest", outputs) == f"nb/{ONE}-2"


def test_the_beginning_of_a_key_whose_first_run_is_gone_names_a_repetition(outputs: Path) -> None:
    for file in (outputs / "nb" / ONE).iterdir():
        file.unlink()
    (outputs / "nb" / ONE).rmdir()
    assert found("a1", outputs) == f"nb/{ONE}-2"


@pytest.mark.parametrize("word", ["a", TWO])
def test_a_word_that_several_begin_with_is_refused_with_their_names(outputs: Path, word: str) -> None:
    with pytest.raises(UsageError, match=f"could be .*nb/{TWO}, other/{TWO}"):
        found(word, outputs)


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("othr", "Did you mean 'other'"),
        ("nb/latets", "Did you mean 'nb/latest'"),
        (f"a3{ONE[2:]}", "Did you mean 'a"),
        ("zzz", "lab runs list"),
        ("", "lab runs list"),
        ("-2", "lab runs list"),
        ("nb/", "nb"),
        ("a1-3", "lab runs list"),
        ("../nb", "nb"),
    ],
)
def test_an_unknown_word_is_refused_with_what_there_is(outputs: Path, word: str, hint: str) -> None:
    with pytest.raises(UsageError) as raised:
        found(word, outputs)
    assert "There are 4 runs, of nb, other." in raised.value.expected
    assert hint in str(raised.value)


def test_without_any_run_it_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="lab run NOTEBOOK"):
        find_run("nb", [], tmp_path)


def test_a_notebook_s_runs_are_found_by_its_name_or_its_file(outputs: Path) -> None:
    runs = read_runs(outputs)
    for word in ("nb", "nb/", "nb.ipynb", "somewhere/nb.ipynb"):
        assert {run.notebook for run in find_notebook(word, runs)} == {"nb"}
        assert len(find_notebook(word, runs)) == 3
    with pytest.raises(UsageError, match="Did you mean 'other'"):
        find_notebook("oter", runs)
