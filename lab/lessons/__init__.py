"""The lessons: content only, a folder each, found by reading this one."""

from pathlib import Path

LESSONS = Path(__file__).resolve().parent
