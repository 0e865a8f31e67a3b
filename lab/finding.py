"""What a lesson or a notebook found, and how it travels from a notebook's cells to the run that reads it.

A cell's output carries, under FINDING_MIME, plain data with any of ``comparisons`` (a list of lab.compare's to_json),
``claims`` (a list of sentence and holds) and ``picture`` (the name of the SVG that the same output carries).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

FINDING_MIME = "application/vnd.gradient-lab.finding+json"


@dataclass
class Findings:
    """Comparisons and claims as plain data in the order they were made, pictures as SVG by name."""

    comparisons: list[dict[str, Any]] = field(default_factory=list)
    claims: list[dict[str, Any]] = field(default_factory=list)
    pictures: dict[str, str] = field(default_factory=dict)
