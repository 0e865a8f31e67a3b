"""Parameters of a lesson or a notebook: read from its one cell of annotated values, validated before anything runs.

A parameter is one line, which papermill reads too (so its comment holds no equals sign)::

    x: float = 2.0  # where x² is differentiated, in [-100, 100]
    dtype: str = "float32"  # of the tensors, one of float64, float32, bfloat16, float16

A comment that ends with ``in [low, high]`` or ``one of a, b, c`` limits the value. Floats are finite. The name
``device`` is a device of lab.device. Needs no torch, so a wrong parameter is answered at once.
"""

from __future__ import annotations

import ast
import io
import re
import reprlib
import tokenize
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError

from lab.device import check_dtype, parse_device, resolve_device
from lab.errors import ParameterError, UsageError, did_you_mean

Value = float | int | bool | str
_TYPES: dict[str, type[Value]] = {"float": float, "int": int, "bool": bool, "str": str}
_SHORT = reprlib.Repr()  # a megabyte of text would drown the error that quotes it
_SHORT.maxstring = _SHORT.maxother = 80
shortened = _SHORT.repr  # what an error quotes
_SURROGATE = re.compile("[\ud800-\udfff]")
_RANGE = re.compile(r"\bin \[(?P<low>[^,\]]+),\s*(?P<high>[^,\]]+)\]$")
_CHOICES = re.compile(r"\bone of (?P<choices>[\w:., +-]+)$")


@dataclass(frozen=True)
class Parameter:
    """One annotated value: its name, type, default, help and what limits it."""

    name: str
    type: type[Value]
    default: Value
    help: str

    @cached_property
    def choices(self) -> tuple[Value, ...]:
        """The values that it may take, or none where it is not limited to a list."""
        match = _CHOICES.search(self.help)
        return tuple(self.type(word.strip()) for word in match["choices"].split(",")) if match else ()

    @cached_property
    def bounds(self) -> tuple[float, float] | None:
        """The least and the greatest value that it may take."""
        match = _RANGE.search(self.help)
        return (float(match["low"]), float(match["high"])) if match else None

    def validate(self, value: object) -> Value:
        """Return the value in the parameter's type. Raises: ParameterError, or DeviceUnavailable for a device."""
        if isinstance(value, bool) and self.type is not bool:
            raise self._refusal(value, f"it is a bool, not {self.type.__name__}")
        try:
            checked: Value = _adapter(self.type.__name__, self.bounds).validate_python(value)
        except ValidationError as error:
            raise self._refusal(value, _lower_first(error.errors()[0]["msg"])) from None
        if isinstance(checked, str) and _SURROGATE.search(checked):
            raise self._refusal(value, "it is no Unicode text")
        if self.choices and checked not in self.choices:
            raise self._refusal(value, "it is none of the choices")
        if self.name == "device":
            parse_device(str(checked))
        return checked

    def _refusal(self, value: object, why: str) -> ParameterError:
        return ParameterError(
            f"Parameter {self.name} = {shortened(value)} was refused: {why}.",
            f"Expected: {self.type.__name__}, {self.help}.",
            f"Type for instance '-p {self.name}={self.default}', which is the default.",
        )


@lru_cache  # a grid's file asks 100,000 times, and building one takes far longer than using it
def _adapter(kind: str, bounds: tuple[float, float] | None) -> TypeAdapter[Any]:
    schema: Any = _TYPES[kind]
    if bounds:
        schema = Annotated[schema, Field(ge=bounds[0], le=bounds[1])]
    if kind == "float":
        schema = Annotated[schema, Field(allow_inf_nan=False)]
    return TypeAdapter(schema)


def _lower_first(sentence: str) -> str:
    return sentence[:1].lower() + sentence[1:]


def read_parameters(source: str, *, where: str) -> dict[str, Parameter]:
    """Read the parameters of a cell's source. where: the file, for the error.

    Raises: UsageError for a line that is not an annotated literal with a comment, or whose limits do not fit it.
    """
    try:
        statements, comments = ast.parse(source).body, _comments(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError, tokenize.TokenError) as error:
        raise _no_parameter(where, str(error)) from None
    found = {}
    for statement in statements:
        match statement:
            case ast.AnnAssign(target=ast.Name(id=name), annotation=ast.Name(id=kind), value=ast.expr() as value) if (
                kind in _TYPES and statement.lineno in comments
            ):
                found[name] = _parameter(name, kind, value, comments[statement.lineno], where=where)
            case _:
                raise _no_parameter(where, ast.unparse(statement))
    return found


def _parameter(name: str, kind: str, value: ast.expr, comment: str, *, where: str) -> Parameter:
    """Return one parameter once its default and its limits are known to be sound."""
    line = f"{name}: {kind} = {ast.unparse(value)}  # {comment}"
    try:
        parameter = Parameter(name, _TYPES[kind], ast.literal_eval(value), comment)
        limits = parameter.choices or parameter.bounds
    except (ValueError, TypeError, RecursionError):  # no literal, or a limit that is not of the type
        raise _no_parameter(where, line) from None
    # papermill shows no help for a line with two equals signs, and it cannot limit a bool or the range of a str.
    unfit = line.count("=") > 1 or (limits and kind == "bool") or (parameter.bounds and kind == "str")
    if unfit:
        raise _no_parameter(where, line)
    parameter.validate(parameter.default)
    return parameter


def _no_parameter(where: str, line: str) -> UsageError:
    return UsageError(
        f"{where}: the parameters cell has a line that is no parameter: {line}.",
        f"Expected 'name: type = value  # help', where type is one of {', '.join(_TYPES)}.",
        "Write for instance 'x: float = 2.0  # what it is, in [-1, 1]'; docs/runs.md says more.",
    )


def _comments(source: str) -> dict[int, str]:
    """Return the comment of each line that ends with one."""
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return {t.start[0]: t.string.lstrip("# ").strip() for t in tokens if t.type == tokenize.COMMENT}


def split_assignments(words: Iterable[str]) -> dict[str, str]:
    """Split ``['x=3', 'dtype=float64']`` into names and values. Raises: ParameterError."""
    pairs = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not (equals and name.isidentifier()):
            raise ParameterError(
                f"{shortened(word)} is no parameter.", "Expected name=value.", "Type for instance '-p x=3'."
            )
        if name in pairs:
            raise ParameterError(
                f"Parameter {name} was given twice.", "Expected each name once.", "Leave one of them out."
            )
        pairs[name] = value
    return pairs


def validate_parameters(
    parameters: Mapping[str, Parameter], given: Mapping[str, object], *, where: str
) -> dict[str, Value]:
    """Return every parameter's value: the given one in its type, or the default.

    where: the lesson or the notebook, for the error. Raises: ParameterError for an unknown name or a value
    that the annotation forbids; DeviceUnavailable for an unknown device.
    """
    check_names(parameters, given, where=where)
    return {name: p.validate(given.get(name, p.default)) for name, p in parameters.items()}


def check_names(parameters: Mapping[str, Parameter], names: Iterable[str], *, where: str) -> None:
    """Refuse a name that is no parameter. where: as for validate_parameters. Raises: ParameterError."""
    for name in names:
        if name not in parameters:
            known = f"Its parameters: {', '.join(parameters)}." if parameters else "It has no parameters cell."
            choose = "Choose one of them, or leave it out." if parameters else "Leave it out."
            suggestion = did_you_mean(name, parameters) or choose
            raise ParameterError(f"{where} has no parameter {shortened(name)}.", known, suggestion)


def settle_device(parameters: dict[str, Value]) -> str | None:
    """Resolve the parameter ``device`` in place, check that it computes in ``dtype``, and return its name.

    Returns None where there is no such parameter. Raises: DeviceUnavailable.
    """
    if "device" not in parameters:
        return None
    if parameters["device"] != "cpu":  # always there, and known without importing torch, which takes seconds
        found = resolve_device(str(parameters["device"]))
        if "dtype" in parameters:
            check_dtype(found, str(parameters["dtype"]))
        parameters["device"] = str(found)
    return str(parameters["device"])
