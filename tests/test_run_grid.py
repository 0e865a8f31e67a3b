from __future__ import annotations

import json
import math
import time
from decimal import Decimal
from fractions import Fraction
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lab.errors import DeviceUnavailable, LabError, ParameterError, StorageError, UsageError
from lab.parameters import Value, read_parameters, validate_parameters
from lab.run.grid import Grid, check_count, read_grid

CELL = """\
x: float = 2.0  # where it is differentiated
t: float = 0.5  # a weight, in [-1, 1]
n: int = 10  # how many
steps: int = 10  # how many, in [0, 1000]
order: int = 2  # of the derivative, one of 1, 2, 3
rate: float = 1.0  # of learning, one of 0, 0.5, 1
exact: bool = True  # whether to compare
dtype: str = "float32"  # of the tensors, one of float64, float32
label: str = "a"  # any text
device: str = "auto"  # where it is computed
"""
PARAMETERS = read_parameters(CELL, where="nb.ipynb")


def grid(*assignments: str, files: tuple[Path, ...] = ()) -> Grid:
    return read_grid(PARAMETERS, assignments, files, where="nb.ipynb")


def values(assignment: str) -> list[Value]:
    return [value for point in grid(assignment) for value in point.values()]


def write(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_a_grid_is_the_product_whose_first_axis_varies_slowest() -> None:
    found = grid("x=1,2", "dtype=float64,float32", "n=3")
    assert list(found) == [
        {"x": 1.0, "dtype": "float64", "n": 3},
        {"x": 1.0, "dtype": "float32", "n": 3},
        {"x": 2.0, "dtype": "float64", "n": 3},
        {"x": 2.0, "dtype": "float32", "n": 3},
    ]
    assert list(found) == list(found)
    assert found.count == 4
    assert found.varied == ("x", "dtype")


def test_without_axes_there_is_one_point_with_the_defaults() -> None:
    assert (list(grid()), grid().count, grid().varied) == ([{}], 1, ())


@pytest.mark.parametrize(
    ("assignment", "expected"),
    [
        ("x=3", [3.0]),
        ("x=3,1, 2", [3.0, 1.0, 2.0]),
        ("x=-2:2:0.5", [-2.0, -1.5, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5, 2.0]),
        ("x=0:1:0.1", [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0]),
        ("x=0:1:0.4", [0.0, 0.4, 0.8]),
        ("x=1:-1:-0.5", [1.0, 0.5, 0.0, -0.5, -1.0]),
        ("x=1:1:-3", [1.0]),
        ("x=1e2: 3E+2 :100", [100.0, 200.0, 300.0]),
        ("x=0,1,5:10:2.5", [0.0, 1.0, 5.0, 7.5, 10.0]),
        ("n=0,1,5:10:1", [0, 1, 5, 6, 7, 8, 9, 10]),
        ("n=0:3e1:1.0e1", [0, 10, 20, 30]),
        ("order=3:1:-1", [3, 2, 1]),
        ("rate=0:1:0.5", [0.0, 0.5, 1.0]),
        ("t=-1:1:1", [-1.0, 0.0, 1.0]),
        ("exact=yes,no", [True, False]),
        ("label=a,b,c", ["a", "b", "c"]),
        ('label="a,b",c', ["a,b", "c"]),
        ('label="say ""hi""",', ['say "hi"', ""]),
        ("label=", [""]),
        ("label=0:2:1", ["0:2:1"]),
        ("label=two\nlines", ["two\nlines"]),
        ("label=a=b", ["a=b"]),
        ("device=cuda:1,cpu", ["cuda:1", "cpu"]),
    ],
)
def test_a_text_is_a_list_of_values_in_the_annotated_type(assignment: str, expected: list[Value]) -> None:
    found = values(assignment)
    assert found == expected
    assert [type(value) for value in found] == [type(value) for value in expected]


def test_both_zeros_are_values_for_they_have_other_gradients() -> None:
    assert [math.copysign(1, value) for value in values("x=0,-0.0") if isinstance(value, float)] == [1, -1]


@pytest.mark.parametrize(
    ("assignment", "why"),
    [
        ("x=0:1", "it has 2 parts, not three"),
        ("x=0:1:1:1", "it has 4 parts, not three"),
        ("x=0:1:0", "its step is 0"),
        ("x=0:1:-1", "leads away"),
        ("x=0:0.5:-1", "leads away"),
        ("x=1:0:1", "leads away"),
        ("x=1,,2", "a value is missing"),
        ("x=,", "a value is missing"),
        ("x=", "valid number"),
        ("x=a:b:c", "'a' is no number"),
        ("x=::", "'' is no number"),
        ("x=0:inf:1", "'inf' is no number"),
        ("x=nan:1:1", "'nan' is no number"),
        ("x=0:1e999999:1", "'1e999999' is no number, or one far too long"),
        ("x=0:1:1e-999999", "far too long"),
        ("x=0:1e99999999999999999999:1", "far too long"),
        (f"n=0:{'9' * 5000}:1", "far too long"),
        ("x=0:1e350:1e349", "x = inf was refused"),
        ("n=0:10:2.5", "'2.5' is no whole number"),
        ("n=0.5:10:1", "'0.5' is no whole number"),
        ("n=2.5", "valid integer"),
        ("t=0:2:0.5", "less than or equal to 1"),
        ("t=-1000000:0:1", "greater than or equal to -1"),
        ("steps=0:1e9:1", "less than or equal to 1000"),
        ("order=1:4:1", "none of the choices"),
        ("rate=0:1:0.25", "0.25 was refused: it is none of the choices"),
        ("rate=0:1:0.000000001", "1e-09 was refused: it is none of the choices"),
        ("dtype=float32,float8", "none of the choices"),
        ("exact=true,maybe", "valid boolean"),
        ('label="a,b', "no list of words"),
        ('label="a"b,c', "no list of words"),
        ("label=a,b\nc,d", "no list of words"),
        ("x=1,1.0", "1.0 was refused: it is there twice"),
        ("exact=true,yes", "there twice"),
        ("label=a,b,a", "'a' was refused: it is there twice"),
        ("x=0:1:0.1,0.3", "0.3 was refused: it is there twice"),
        ("n=0:10:1,8:20:1", "n = 8 was refused: it is there twice"),
        ("x=0:1e-399:1e-400", "there twice"),
        ("n=0:1e9:1,5", "parts overlap"),
        ("n=1e9:0:-1,1000000000:2e9:1", "parts overlap"),
        ("x=1:1.1:1e-17", "so small that a float would come twice"),
        ("rate=1:1.00000000000000001:1e-30", "so small that a float would come twice"),
    ],
)
def test_an_axis_that_is_none_is_refused_with_its_value(assignment: str, why: str) -> None:
    with pytest.raises(ParameterError) as error:
        grid(assignment)
    assert why in error.value.happened
    assert f"Parameter {assignment.partition('=')[0]} = " in error.value.happened
    assert len(str(error.value)) < 500


def test_an_unknown_name_is_answered_as_for_one_run() -> None:
    with pytest.raises(ParameterError) as expected:
        validate_parameters(PARAMETERS, {"step": "3"}, where="nb.ipynb")
    with pytest.raises(ParameterError) as error:
        grid("step=1,2")
    assert str(error.value) == str(expected.value)


def test_an_unknown_device_and_a_name_given_twice_are_refused() -> None:
    with pytest.raises(DeviceUnavailable, match="Did you mean 'cuda'"):
        grid("device=cpu,cudda")
    with pytest.raises(ParameterError, match="given twice"):
        grid("x=1", "x=2")


def test_a_huge_grid_is_counted_and_begun_at_once() -> None:
    start = time.process_time()
    found = grid("x=-100:100:0.0000001", "n=0:1e12:1,-5", "dtype=float64,float32")
    assert found.count == (2 * 10**9 + 1) * (10**12 + 2) * 2
    assert list(islice(found, 3)) == [
        {"x": -100.0, "n": 0, "dtype": "float64"},
        {"x": -100.0, "n": 0, "dtype": "float32"},
        {"x": -100.0, "n": 1, "dtype": "float64"},
    ]
    assert time.process_time() - start < 1


def test_too_many_runs_are_refused_with_their_number_until_yes() -> None:
    with pytest.raises(UsageError, match=r"1,000,000,000 runs\..*--yes"):
        check_count(10**9, limit=1000, yes=False)
    with pytest.raises(UsageError, match="more than 1,000,000"):
        check_count(10**5000, limit=1000, yes=False)
    check_count(10**9, limit=1000, yes=True)
    check_count(1000, limit=1000, yes=False)


decimals = st.decimals(-1000, 1000, places=6, allow_nan=False) | st.integers(-50, 50).map(Decimal)


@given(decimals, decimals.filter(bool), st.integers(0, 40), st.integers(0, 99))
def test_a_range_is_start_plus_whole_steps_exactly_and_stays_within(
    start: Decimal, step: Decimal, steps: int, percent: int
) -> None:
    stop = start + step * steps + step * percent / 100
    found = values(f"x={start:f}:{stop:f}:{step:f}")
    assert found == [float(Fraction(start) + k * Fraction(step)) for k in range(steps + 1)]
    low, high = sorted((float(start), float(stop)))
    assert all(isinstance(value, float) and low <= value <= high for value in found)


members = st.integers(-5, 5).map(str) | st.builds("{}:{}:{}".format, *[st.integers(-5, 5)] * 3)
lists = st.lists(members, min_size=1, max_size=3).map(",".join)


@given(st.dictionaries(st.sampled_from(["x", "n", "label"]), lists))
def test_the_count_is_the_number_of_points_all_different(axes: dict[str, str]) -> None:
    try:
        found = grid(*(f"{name}={text}" for name, text in axes.items()))
    except ParameterError:
        return
    points = list(found)
    assert found.count == len(points) == len({json.dumps(point) for point in points})
    assert all(list(point) == list(axes) for point in points)
    assert found.varied == tuple(name for name in axes if len({point[name] for point in points}) > 1)


texts = st.text(st.characters()) | st.text('0123456789.,:-+eE_naif "\n') | lists


@given(st.sampled_from(sorted(PARAMETERS)), texts)
@example("x", "1e999999:1e999999:1e999999")
@example("n", "0:1e400:1")
@example("label", "\0,\udcff")
@example("x", "1_0:٣٠:1")
def test_any_text_is_a_grid_of_sound_points_or_a_lab_error(name: str, text: str) -> None:
    start = time.process_time()
    try:
        found = grid(f"{name}={text}")
    except LabError:
        return
    finally:
        assert time.process_time() - start < 2
    points = list(islice(found, 50))
    assert len(points) == min(found.count, 50)
    for point in points:
        assert validate_parameters(PARAMETERS, point, where="nb.ipynb")[name] == point[name]


FILES = {
    "p.csv": 'x,label\r\n1,a\r\n\r\n2,"b,\r\nc"\r\n',
    "bom.CSV": '\ufeffx,label\n1,a\n2,"b,\r\nc"',
    "p.jsonl": '{"x": 1, "label": "a"}\n\n{"label": "b,\\r\\nc", "x": 2.0}',
    "p.ndjson": '{"x": 1, "label": "a"}\r\n{"x": 2, "label": "b,\\r\\nc"}\r\n',
    "p.json": '\ufeff{"x": 1, "label": "a"}\n{"x": 2, "label": "b,\\r\\nc"}\n',
}


@pytest.mark.parametrize("name", FILES)
def test_the_rows_of_a_file_are_points(tmp_path: Path, name: str) -> None:
    found = grid(files=(write(tmp_path, name, FILES[name]),))
    assert list(found) == [{"x": 1.0, "label": "a"}, {"x": 2.0, "label": "b,\r\nc"}]
    assert (found.count, found.varied) == (2, ("x", "label"))


def test_a_json_line_ends_where_json_says(tmp_path: Path) -> None:
    path = write(tmp_path, "p.jsonl", '{"label": "a\u2028b\x85"}\n{"label": "c"}')
    assert list(grid(files=(path,))) == [{"label": "a\u2028b\x85"}, {"label": "c"}]


def test_a_file_is_multiplied_with_axes_and_other_files(tmp_path: Path) -> None:
    one, other = write(tmp_path, "one.csv", "x,t\n1,0.5\n2,0.5\n"), write(tmp_path, "b.jsonl", '{"n": 7}\n{"n": 8}')
    found = grid("exact=true,false", files=(one, other))
    assert found.count == len(list(found)) == 8
    assert list(islice(found, 3)) == [
        {"exact": True, "x": 1.0, "t": 0.5, "n": 7},
        {"exact": True, "x": 1.0, "t": 0.5, "n": 8},
        {"exact": True, "x": 2.0, "t": 0.5, "n": 7},
    ]
    assert found.varied == ("exact", "x", "n")


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("p.csv", "", ": it is empty"),
        ("p.csv", "\n\n", ": it is empty"),
        ("p.csv", "x,n\n", ": it has a header and no rows"),
        ("p.csv", "x,lable\n1,a\n", "line 1: nb.ipynb has no parameter 'lable'"),
        ("p.csv", "x,\n1,a\n", "line 1: nb.ipynb has no parameter ''"),
        ("p.csv", "x,x\n1,2\n", "line 1: a column is there twice"),
        ("p.csv", "x,n\n1,2\n\n1\n", "line 4: it has 1 values, and the header 2 names"),
        ("p.csv", "x,n\n1,2,3\n", "line 2: it has 3 values"),
        ("p.csv", 'label,n\n"a\nb",1\nc,many\n', "line 4: Parameter n = 'many' was refused"),
        ("p.csv", "x\n1\n\n1:2:1\n", "line 4: Parameter x = '1:2:1' was refused"),
        ("p.csv", "x,n\n,1\n", "line 2: Parameter x = '' was refused"),
        ("p.csv", "x\nnan\n", "line 2: Parameter x = 'nan' was refused"),
        ("p.csv", "device\ncpu\ncudda\n", "line 3: There is no device 'cudda'"),
        ("p.csv", "x\n1\n2\n1.0\n", "line 4: it is the point of line 2 once more"),
        ("p.csv", 'label\n"a\n', "line 2: it is not CSV"),
        ("p.csv", "label\n" + "a" * 200_000, "line 2: it is not CSV (field larger"),
        ("p.csv", b"x\n1\n\xff\n", "line 3: byte 4 of the file is not UTF-8"),
        ("p.csv", "x\n1\n".encode("utf-16"), "line 1: byte 0 of the file is not UTF-8"),
        ("p.jsonl", " \n", ": it is empty"),
        ("p.jsonl", "{}\n", "line 1: it names no parameter"),
        ("p.jsonl", "\n[1]", "line 2: it is no object"),
        ("p.json", '[{"x": 1},\n{"x": 2}]', "line 1: it is not JSON"),
        ("p.jsonl", '{"x": 1}\n{"x": 1', "line 2: it is not JSON"),
        ("p.jsonl", '{"x": NaN}', "line 1: it is not JSON (NaN is not JSON)"),
        ("p.jsonl", '{"x": -Infinity}', "line 1: it is not JSON (-Infinity is not JSON)"),
        ("p.jsonl", '{"x": 1e999}', "line 1: Parameter x = inf was refused"),
        ("p.jsonl", '{"x": ' + "9" * 5000 + "}", "line 1: it is not JSON"),
        ("p.jsonl", "[" * 100_000, "line 1: it is not JSON"),
        ("p.jsonl", '{"x": 1, "x": 2}', "line 1: it is not JSON (a name is there twice)"),
        ("p.jsonl", '{"x": 1}\n{"x": 2, "n": 1}', "line 2: 'n' is not in every line"),
        ("p.jsonl", '{"x": 1, "n": 1}\n{"x": 2}', "line 2: 'n' is not in every line"),
        ("p.jsonl", '{"lable": 1}', "line 1: nb.ipynb has no parameter 'lable'"),
        ("p.jsonl", '{"label": 1}', "line 1: Parameter label = 1 was refused"),
        ("p.jsonl", '{"x": true}', "line 1: Parameter x = True was refused"),
        ("p.jsonl", '{"x": null}', "line 1: Parameter x = None was refused"),
        ("p.jsonl", '{"x": [1, 2]}', "line 1: Parameter x = [1, 2] was refused"),
        ("p.jsonl", '{"label": "\\udcff"}', "line 1: Parameter label = '\\udcff' was refused"),
        ("p.txt", "x\n1\n", ": its name ends in none of .csv, .jsonl"),
    ],
)
def test_a_file_with_a_fault_is_refused_by_name_and_line(
    tmp_path: Path, name: str, content: str | bytes, why: str
) -> None:
    path = write(tmp_path, name, content)
    with pytest.raises((UsageError, DeviceUnavailable)) as error:
        grid(files=(path,))
    separator = "" if why.startswith(":") else ", "
    assert error.value.happened.startswith(f"{path}{separator}{why}")
    assert len(str(error.value)) - len(str(path)) < 500


def test_a_mistyped_column_is_answered_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="Did you mean 'label'"):
        grid(files=(write(tmp_path, "p.csv", "lable\na\n"),))


def test_a_name_in_a_file_and_elsewhere_is_refused(tmp_path: Path) -> None:
    one, other = write(tmp_path, "one.csv", "x,n\n1,2\n"), write(tmp_path, "b.csv", "n\n1\n")
    with pytest.raises(ParameterError, match=r"Parameter x is in .*one\.csv and was given elsewhere"):
        grid("x=1", files=(one,))
    with pytest.raises(ParameterError, match="Parameter n is in"):
        grid(files=(one, other))


def test_a_missing_file_is_a_wrong_word_and_an_unreadable_one_is_not(tmp_path: Path) -> None:
    write(tmp_path, "points.csv", "x\n1\n")
    for missing in (tmp_path / "point.csv", tmp_path / "points.csv" / "p.csv", tmp_path / "a\0.csv"):
        with pytest.raises(UsageError, match="There is no file"):
            grid(files=(missing,))
    with pytest.raises(UsageError, match=r"Did you mean 'points\.csv'"):
        grid(files=(tmp_path / "point.csv",))
    loop = tmp_path / "loop.csv"
    loop.symlink_to(loop)
    with pytest.raises(StorageError, match=r"Could not read .*loop\.csv"):
        grid(files=(loop,))


@given(st.sampled_from(["p.csv", "p.jsonl"]), st.binary() | st.text('x,n"\n\r{}:1').map(str.encode))
@example("p.csv", b"x\n" + b"1\r2\r")
@example("p.csv", b"x\n\0\n")
@example("p.jsonl", b'{"\\udcff": 1}')
def test_any_bytes_are_points_or_a_lab_error(
    tmp_path_factory: pytest.TempPathFactory, name: str, content: bytes
) -> None:
    path = write(tmp_path_factory.getbasetemp(), name, content)
    try:
        found = grid(files=(path,))
    except LabError as error:
        assert str(path) in str(error)  # noqa: PT017  some bytes are points
        return
    assert found.count == len(list(found)) > 0


@pytest.mark.parametrize("name", ["p.csv", "p.jsonl"])
def test_a_hundred_thousand_rows_are_read_fast(tmp_path: Path, name: str) -> None:
    rows = [{"x": 1 / (k + 1), "n": k, "dtype": "float64"} for k in range(100_000)]
    lines = (
        map(json.dumps, rows) if name == "p.jsonl" else ["x,n,dtype", *(",".join(map(str, r.values())) for r in rows)]
    )
    path = write(tmp_path, name, "\n".join(lines))
    start = time.process_time()
    found = grid(files=(path,))
    assert time.process_time() - start < 4  # 1 here; an adapter per value takes 40
    assert list(found) == rows
    assert found.varied == ("x", "n")
