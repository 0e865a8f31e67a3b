from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from fixtures.notebooks import PARAMETERS, write_notebook
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lab.errors import DeviceUnavailable, LabError, ParameterError, StorageError, UsageError
from lab.finding import FINDING_MIME
from lab.run.findings import file_name, read_findings
from lab.run.notebook import check_notebook, read_notebook
from lab.run.plan import plan_run

NOTEBOOK: dict[str, object] = {"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": []}


def notebook_bytes(**changes: object) -> bytes:
    return json.dumps({**NOTEBOOK, **changes}).encode()


def tagged(*tags: str, kind: str = "code") -> dict[str, object]:
    cell = {"cell_type": kind, "id": "a", "metadata": {"tags": [*tags]}, "source": ""}
    return {**cell, "execution_count": None, "outputs": []} if kind == "code" else cell


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "not JSON"),
        (b"[]", "holds no cells"),
        (b"null", "holds no cells"),
        (notebook_bytes()[:-9], "not JSON"),
        (b"\xff\xfe" + notebook_bytes(), "byte 0 is not UTF-8"),
        (b"[" * 100_000, "not JSON"),
        (notebook_bytes(metadata={"x": float("nan")}), "NaN is not JSON"),
        (notebook_bytes(nbformat=3), "format is 3.5"),
        (notebook_bytes(nbformat=5), "format is 5.5"),
        (notebook_bytes(nbformat_minor="x"), "format is 4.x"),
        (notebook_bytes(cells=None), "holds no cells"),
        (notebook_bytes(cells=[1]), "no cell"),
        (notebook_bytes(cells=[{}]), "cells/0"),
        (notebook_bytes(cells=[{"cell_type": "code", "source": 7}]), "cells/0"),
        (notebook_bytes(metadata=7), "metadata"),
        (notebook_bytes(metadata={"language_info": {"name": "R"}}), "written in r"),
        (notebook_bytes(cells=[tagged("parameters"), {**tagged("parameters"), "id": "b"}]), "2 cells are tagged"),
        (notebook_bytes(cells=[tagged("parameters", kind="markdown")]), "1 cells are tagged"),
    ],
)
def test_a_malformed_notebook_is_refused_in_one_sentence_that_names_it(
    tmp_path: Path, content: bytes, why: str
) -> None:
    path = tmp_path / "bad.ipynb"
    path.write_bytes(content)
    with pytest.raises(UsageError) as error:
        check_notebook(read_notebook(path))
    assert str(path) in error.value.happened
    assert why in error.value.happened
    assert "\n" not in error.value.happened
    assert [file.name for file in tmp_path.iterdir()] == ["bad.ipynb"]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_mutated_notebook_is_read_or_refused(tmp_path: Path, data: st.DataObject) -> None:
    good = write_notebook(tmp_path / "nb.ipynb", "1 + 1", "# prose", parameters=PARAMETERS).read_bytes()
    start = data.draw(st.integers(0, len(good)))
    end = data.draw(st.integers(start, min(len(good), start + 40)))
    path = tmp_path / "mutated.ipynb"
    path.write_bytes(good[:start] + data.draw(st.binary(max_size=4)) + good[end:])
    try:
        check_notebook(read_notebook(path))
    except LabError as error:
        assert error.exit_code in (2, 3)  # noqa: PT017  some mutations are harmless; 3: of the device's name


def test_a_missing_notebook_is_answered_with_the_nearest(tmp_path: Path) -> None:
    write_notebook(tmp_path / "05_gradients.ipynb")
    write_notebook(tmp_path / "other.ipynb")
    with pytest.raises(UsageError, match="Did you mean '05_gradients'"):
        read_notebook(tmp_path / "05_gradient.ipynb")


@pytest.mark.parametrize("name", ["...ipynb", ".partial-x.ipynb", "notebook.json", "."])
def test_a_name_that_the_store_could_misread_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="its name"):
        read_notebook(tmp_path / name)


def test_a_notebook_that_may_not_be_read_is_a_storage_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(StorageError, match="Could not read"):
        read_notebook(tmp_path / "nb.ipynb")


@pytest.mark.parametrize(
    ("given", "kind", "words"),
    [
        ({"xx": "3"}, ParameterError, "Did you mean 'x'"),
        ({"x": "abc"}, ParameterError, "Parameter x = 'abc'"),
        ({"x": "nan"}, ParameterError, "Parameter x = 'nan'"),
        ({"device": "tpu"}, DeviceUnavailable, "'tpu'"),
        ({"device": "cuda:99"}, DeviceUnavailable, "Present: .*cpu"),
        ({"device": "cpu:1"}, DeviceUnavailable, "Present: .*cpu"),
    ],
)
def test_a_wrong_value_is_refused_before_anything_is_written(
    tmp_path: Path, given: dict[str, object], kind: type[LabError], words: str
) -> None:
    path = write_notebook(tmp_path / "nb.ipynb", "1 + 1", parameters=PARAMETERS)
    with pytest.raises(kind, match=words):
        plan_run(path, given)
    assert [file.name for file in tmp_path.iterdir()] == ["nb.ipynb"]


def test_a_parameter_for_a_notebook_without_any_is_refused(tmp_path: Path) -> None:
    path = write_notebook(tmp_path / "nb.ipynb", "1 + 1")
    assert plan_run(path, {}).parameters == {}
    with pytest.raises(ParameterError, match="It has no parameters cell"):
        plan_run(path, {"x": "3"})


def test_auto_comes_to_a_device_that_is_there(tmp_path: Path) -> None:
    plan = plan_run(write_notebook(tmp_path / "nb.ipynb", parameters=PARAMETERS), {"device": "auto"})
    assert plan.device != "auto"
    assert plan.parameters["device"] == plan.device


def test_the_key_depends_on_the_notebook_and_each_value(tmp_path: Path) -> None:
    one = write_notebook(tmp_path / "one.ipynb", "1", parameters=PARAMETERS)
    other = write_notebook(tmp_path / "other.ipynb", "2", parameters=PARAMETERS)
    keys = [plan_run(path, given).key for path in (one, other) for given in ({}, {"x": "3"}, {"x": "3.0"})]
    assert keys[1] == keys[2]
    assert len(set(keys)) == 4


def test_planning_needs_no_torch(tmp_path: Path) -> None:
    path = write_notebook(tmp_path / "nb.ipynb", parameters=PARAMETERS)
    program = (
        "import sys; from pathlib import Path; from lab.run.execute import plan_run;"
        "plan_run(Path(sys.argv[1]), {}); sys.exit('torch' in sys.modules or 'papermill' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program, str(path)]).returncode == 0


def test_papermill_shows_the_help_of_such_a_cell(tmp_path: Path) -> None:
    path = write_notebook(tmp_path / "nb.ipynb", parameters=PARAMETERS)
    command = [sys.executable, "-m", "papermill", "--help-notebook", str(path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0
    assert "x: float (default 2.0)" in done.stdout
    assert "where it is computed, in [-100, 100]" in done.stdout


def test_findings_are_read_back_and_what_only_looks_like_one_is_left_out() -> None:
    displayed = [
        {"comparisons": [{"value": float("nan"), "list": [float("-inf"), 1]}, "text"]},
        {"claims": [{"sentence": "s", "holds": True}], "comparisons": []},
        {"picture": "../../a b/ü"},
        {"picture": 7},
        {"comparisons": "text"},
        "text",
        None,
    ]
    outputs = [{"data": {FINDING_MIME: finding, "image/svg+xml": ["<svg>\n", "</svg>"]}} for finding in displayed]
    found = read_findings([{"outputs": outputs}, {"outputs": [{"output_type": "stream"}]}, {}])
    assert found.comparisons == [{"value": "nan", "list": ["-inf", 1]}]
    assert found.claims == [{"sentence": "s", "holds": True}]
    assert found.pictures == {"a-b-ü.svg": "<svg>\n</svg>"}


@given(st.text(st.characters()))
def test_a_picture_s_name_never_leaves_its_folder(name: str) -> None:
    assert Path(file_name(name)).name == file_name(name)
    assert file_name(name).endswith(".svg")
    assert not file_name(name).startswith(".")


def test_a_wrong_parameter_is_answered_before_anything_large_is_imported(tmp_path: Path) -> None:
    write_notebook(tmp_path / "nb.ipynb", parameters=PARAMETERS)
    code = (
        "import sys; from pathlib import Path; from lab.run import plan_run; from lab.errors import ParameterError\n"
        "try: plan_run(Path('nb.ipynb'), {'x': 'abc'})\n"
        "except ParameterError: print([name for name in ('torch', 'nbformat', 'papermill') if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout == "[]\n"
