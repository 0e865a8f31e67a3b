"""The narrated terminal: prose rendered, code highlighted, findings in colour. Plain text where it is piped."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.markdown import Markdown
from rich.padding import Padding
from rich.syntax import Syntax
from rich.text import Text

from lab.compare import Verdict
from lab.teach.stage import Stage

_STYLES = {Verdict.PASS: "green", Verdict.WARN: "yellow", Verdict.FAIL: "bold red"}


class TerminalStage(Stage):
    """A stage on a rich console."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self.console = console

    def prose(self, markdown: str) -> None:
        """Render a markdown cell."""
        self.console.print()
        self.console.print(Markdown(markdown))
        self.console.print()

    def code(self, source: str) -> None:
        """Show a code cell, highlighted and indented, before it runs."""
        syntax = Syntax(source, "python", theme="ansi_dark", background_color="default", word_wrap=True)
        self.console.print(Padding(syntax, (0, 0, 1, 2)))

    def line(self, text: str, finding: dict[str, Any], *, verdict: Verdict) -> None:
        """Show one finding in the colour of its verdict."""
        self.console.print(Text(text, style=_STYLES[verdict]), soft_wrap=True)

    def picture(self, name: str, svg: str) -> None:
        """Say that there is a picture; where it lies is said once it is published."""
        self.console.print(Text(f"  → picture {name}.svg", style="cyan"))
