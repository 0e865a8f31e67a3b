"""The same result for CI: a JUnit file with a test case for each operation and dtype."""

from __future__ import annotations

import re

from junitparser import Error, Failure, JUnitXml, Skipped, TestCase, TestSuite

from lab.prove.result import Cell
from lab.prove.rule import Verdict
from lab.prove.verification import Verification

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # colours, for one


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
        case.result = [Skipped(_plain(cell.worst.note))]
    elif cell.verdict.is_failure:
        kind = Error if cell.verdict is Verdict.CRASH else Failure
        found = kind(_plain(f"{cell.verdict}: {cell.cause.summary if cell.cause else cell.worst.note}"))
        evidence = cell.cause.evidence if cell.cause else ()
        again = verification.reproduce(cell.cause.case if cell.cause else cell.worst.case)
        found.text = _plain("\n".join([*evidence, again]))
        case.result = [found]
    return case


def _plain(text: str) -> str:
    """Return a text without the characters that no XML may hold."""
    return _NOT_XML.sub("\ufffd", text)
