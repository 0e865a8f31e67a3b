"""The heat map of a verification."""

from typing import Any


def verification_page(result: dict[str, Any]) -> str:
    """Return the page."""
    return "<!doctype html><title>verify</title>"
