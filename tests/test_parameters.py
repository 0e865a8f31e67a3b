from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.errors import DeviceUnavailable, LabError, ParameterError, UsageError
from lab.parameters import read_parameters, split_assignments, validate_parameters

CELL = """\
# a comment, and an empty line

x: float = 2.0  # where x² is differentiated, in [-100, 100]
rate: float = 0.1  # any finite number
steps: int = 10  # how many, in [1, 1000]
exact: bool = True  # whether to compare
dtype: str = "float32"  # of the tensors, one of float64, float32, bfloat16, float16
order: int = 2  # of the derivative, one of 1, 2, 3
label: str = "a"  # any text
device: str = "auto"  # where it is computed
"""
PARAMETERS = read_parameters(CELL, where="nb.ipynb")
any_text = st.text(st.characters())  # lone surrogates too, as a command line that is not UTF-8 gives them


def check(**given: object) -> dict[str, object]:
    return dict(validate_parameters(PARAMETERS, given, where="nb.ipynb"))


def test_defaults_are_taken_where_nothing_is_given() -> None:
    assert check() == {name: parameter.default for name, parameter in PARAMETERS.items()}


def test_text_becomes_the_annotated_type() -> None:
    values = check(x="3", steps="7", exact="no", dtype="float64", order="3", label="3")
    got = [values[name] for name in ("x", "steps", "exact", "dtype", "order", "label")]
    assert got == [3.0, 7, False, "float64", 3, "3"]
    assert [type(value) for value in got] == [float, int, bool, str, int, str]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("x", "abc"),
        ("x", "nan"),
        ("rate", "inf"),
        ("rate", "1e999"),
        ("rate", float("nan")),
        ("x", "101"),
        ("x", True),
        ("steps", "2.5"),
        ("steps", "0"),
        ("steps", "9" * 5000),
        ("exact", "maybe"),
        ("dtype", "float8"),
        ("order", "4"),
        ("label", 3),
        ("label", "\udcff"),
        ("x", None),
    ],
)
def test_a_forbidden_value_is_refused_by_name_type_and_value(name: str, value: object) -> None:
    with pytest.raises(ParameterError) as error:
        check(**{name: value})
    kind = PARAMETERS[name].type.__name__
    assert name in str(error.value)
    assert kind in error.value.expected
    assert repr(value)[:20] in error.value.happened
    assert error.value.exit_code == 2
    assert len(str(error.value)) < 500


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(ParameterError, match="Did you mean 'steps'"):
        check(step="3")


def test_an_unknown_device_is_refused_without_torch() -> None:
    with pytest.raises(DeviceUnavailable, match="Did you mean 'cuda'"):
        check(device="cudda")


@given(st.sampled_from(sorted(PARAMETERS)), any_text)
def test_any_text_is_a_sound_value_or_a_lab_error(name: str, text: str) -> None:
    try:
        value = check(**{name: text})[name]
    except LabError:
        return
    assert isinstance(value, PARAMETERS[name].type)
    assert not isinstance(value, float) or math.isfinite(value)


@given(st.sampled_from(["x", "rate"]), st.floats(allow_nan=True, allow_infinity=True))
def test_no_number_becomes_a_float_that_is_not_finite(name: str, number: float) -> None:
    for given_as in (number, str(number)):
        try:
            assert math.isfinite(float(str(check(**{name: given_as})[name])))
        except ParameterError:
            assert not (math.isfinite(number) and abs(number) <= 100)


@given(any_text)
def test_any_source_is_parameters_or_a_usage_error(source: str) -> None:
    try:
        read_parameters(source, where="nb.ipynb")
    except UsageError as error:
        assert "nb.ipynb" in str(error)  # noqa: PT017  most sources raise nothing


@pytest.mark.parametrize(
    "line",
    [
        "x = 2.0  # no annotation",
        "x: float = 2.0",
        "x: complex = 2j  # no such type",
        "x: float = open('f')  # no literal",
        "x: float = 2.0  # help = two equals signs",
        "x: float = 2.0  # with limits, in [low, high]",
        "x: str = 'a'  # a range of text, in [0, 1]",
        "x: bool = True  # one of True, False",
        "x: int = 1  # one of a, b",
        "x: float =",
        "%matplotlib inline",
        "print('hello')",
        "x: float = 2.0 \0  # a null character",
    ],
)
def test_a_line_that_is_no_parameter_is_refused(line: str) -> None:
    with pytest.raises(UsageError, match=r"nb\.ipynb: the parameters cell"):
        read_parameters(line, where="nb.ipynb")


@pytest.mark.parametrize("line", ["x: float = 'a'  # help", "x: int = 5  # in [0, 3]", "x: float = 1e999  # help"])
def test_a_default_outside_its_own_limits_is_refused(line: str) -> None:
    with pytest.raises(ParameterError, match="Parameter x = "):
        read_parameters(line, where="nb.ipynb")


def test_assignments_are_split_at_the_first_equals_sign() -> None:
    assert split_assignments(["x=3", "label=a=b", "empty="]) == {"x": "3", "label": "a=b", "empty": ""}


@pytest.mark.parametrize("word", ["x", "=3", "../x=1", "x;import os=1", "x y=1", ""])
def test_a_name_that_is_no_identifier_is_refused(word: str) -> None:
    with pytest.raises(ParameterError, match="is no parameter"):
        split_assignments([word])


def test_a_parameter_given_twice_is_refused() -> None:
    with pytest.raises(ParameterError, match="given twice"):
        split_assignments(["x=1", "x=2"])


@pytest.mark.parametrize("value", ["-" * 100_000 + "1", "(" * 1000, "{[]}"])
def test_a_default_that_strains_the_parser_is_refused(value: str) -> None:
    with pytest.raises(UsageError):
        read_parameters(f"x: float = {value}  # help", where="nb.ipynb")
