"""The same result for CI: a JUnit file with a test case for each operation and dtype."""

from __future__ import annotations

from junitparser import Error, Failure, JUnitXml, Skipped, TestCase, TestSuite

from lab.prove.result import Cell
from lab.prove.rule import Verdict
from lab.prove.verification import Verification


def to_junit(verification: Verification) -> str:
    """Return the XML. A probe is a test case too; what the device cannot do is skipped."""
    suite = TestSuite(f"lab verify {verification.target.device} {verification.target.backend.name}")
    suite.add_testcases([_case(cell, verification) for cell in verification.cells])
    for probe in verification.probes:
        case = TestCase(f"{probe.kind}: {probe.name}", f"probes.{probe.dtype}", 0)
        if not probe.passed:
            case.result = [Failure(f"{probe.measured} of {probe.expected} {probe.unit}")]
        suite.add_testcase(case)
    xml = JUnitXml("lab verify")
    xml.add_testsuite(suite)
    xml.update_statistics()
    text = xml.tostring()
    return text.decode() if isinstance(text, bytes) else str(text)


def _case(cell: Cell, verification: Verification) -> TestCase:
    case = TestCase(cell.op, f"verify.{cell.dtype}", 0)
    if cell.verdict is Verdict.UNSUPPORTED:
        case.result = [Skipped(cell.worst.note)]
    elif cell.verdict.is_failure:
        kind = Error if cell.verdict is Verdict.CRASH else Failure
        found = kind(f"{cell.verdict}: {cell.cause.summary if cell.cause else cell.worst.note}")
        evidence = cell.cause.evidence if cell.cause else ()
        found.text = "\n".join([*evidence, verification.reproduce(cell.cause.case if cell.cause else cell.worst.case)])
        case.result = [found]
    return case
