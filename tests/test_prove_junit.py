from __future__ import annotations

from xml.etree import ElementTree

import pytest
from junitparser import JUnitXml

from lab.prove.case import Selection
from lab.prove.faults import FAULTS
from lab.prove.junit import to_junit
from lab.prove.probes import Probe
from lab.prove.result import CaseResult, Cause, Cell
from lab.prove.rule import Verdict
from lab.prove.verification import Verification
from lab.prove.verify import Target

CASE = "mm//float32/permuted/dense/all/small/0"
CAUSE = Cause("strides", "a kernel ignores how its inputs lie in memory", ("a < b & c", "the second sign"), CASE)


def cell(verdict: Verdict, *, note: str = "", cause: Cause | None = None, op: str = "mm") -> Cell:
    return Cell(op, "float32", (CaseResult(CASE, verdict, 2.0, 20.0, 0, note),), 1, cause)


def found(*cells: Cell, probes: tuple[Probe, ...] = (), target: Target | None = None) -> Verification:
    return Verification(target or Target(), Selection(), probes, cells, {})


def parse(*cells: Cell, probes: tuple[Probe, ...] = (), target: Target | None = None) -> ElementTree.Element:
    """Return the suite."""
    suite = ElementTree.fromstring(to_junit(found(*cells, probes=probes, target=target))).find("testsuite")
    assert suite is not None
    return suite


@pytest.mark.parametrize(
    ("verdict", "kind"),
    [
        (Verdict.PASS, None),
        (Verdict.WARN, None),
        (Verdict.UNSUPPORTED, "skipped"),
        (Verdict.ILLPOSED, None),
        (Verdict.FORMULA, None),
        (Verdict.NONDET, "failure"),
        (Verdict.FAIL, "failure"),
        (Verdict.CRASH, "error"),
    ],
)
def test_a_verdict_becomes_what_ci_shows(verdict: Verdict, kind: str | None) -> None:
    (case,) = parse(cell(verdict))
    assert (case.attrib["name"], case.attrib["classname"]) == ("mm", "verify.float32")
    assert [child.tag for child in case] == ([kind] if kind else [])


def test_a_failure_says_why_and_what_to_type() -> None:
    ((failure,),) = parse(cell(Verdict.FAIL, cause=CAUSE), target=Target(backend=FAULTS["stride-blind"]))
    assert failure.attrib["message"] == f"fail: {CAUSE.summary}"
    assert failure.text == "\n".join(
        [*CAUSE.evidence, f"lab verify --device cpu --simulate stride-blind --case {CASE}"]
    )


def test_without_a_cause_the_note_is_told() -> None:
    ((error,),) = parse(cell(Verdict.CRASH, note="its process ended with exit code -11"))
    assert error.attrib["message"] == "crash: its process ended with exit code -11"
    assert error.text == f"lab verify --device cpu --case {CASE}"


def test_what_is_skipped_says_why() -> None:
    ((skipped,),) = parse(cell(Verdict.UNSUPPORTED, note="not implemented for 'Half'"))
    assert skipped.attrib["message"] == "not implemented for 'Half'"


def test_probes_are_test_cases_too() -> None:
    good = Probe("product", "mm dX", "float32", 23, 23, "mantissa bits")
    bad = Probe("product", "mm dW", "float32", 10, 23, "mantissa bits")
    first, second = parse(probes=(good, bad))
    assert (first.attrib["name"], first.attrib["classname"]) == ("product: mm dX", "probes.float32")
    assert list(first) == []
    assert second[0].attrib["message"] == "10 of 23 mantissa bits"


def test_the_counts_are_those_of_the_cases() -> None:
    cells = [cell(verdict, op=f"op{i}") for i, verdict in enumerate(Verdict)]
    suite = parse(*cells, probes=(Probe("product", "mm", "float32", 10, 23, "bits"),))
    assert {name: suite.attrib[name] for name in ("tests", "failures", "errors", "skipped")} == {
        "tests": "9", "failures": "3", "errors": "1", "skipped": "1"
    }  # fmt: skip


def test_other_tools_read_it_back() -> None:
    text = to_junit(found(cell(Verdict.FAIL, cause=CAUSE), cell(Verdict.PASS, op="bmm")))
    (suite,) = JUnitXml.fromstring(text.encode())
    assert [(case.name, case.is_passed) for case in suite] == [("mm", False), ("bmm", True)]


@pytest.mark.parametrize("character", ["\x1b[31m", "\x00", "\x0b", "\ud800", "\ufffe"])
def test_what_a_kernel_says_cannot_break_the_file(character: str) -> None:
    """Messages of compilers have colours, and some bytes that no XML may hold."""
    text = to_junit(
        found(cell(Verdict.CRASH, note=f"error{character} here"), cell(Verdict.UNSUPPORTED, note=character))
    )
    ElementTree.fromstring(text.encode("utf-8"))
