"""The text of every lesson: its code runs, prints what the text says it prints, and its links lead somewhere."""

import ast
import contextlib
import io
import re
import shlex
import tokenize
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest

from lab.lessons import LESSONS
from lab.teach.lessons import Lesson

ROOT = LESSONS.parent.parent
READMES = sorted(LESSONS.glob("[0-9][0-9]_*/README.md"))
SECTIONS = [
    "Overview",
    "Learning objectives",
    "Key concepts",
    "Code walkthrough",
    "Practice problems",
    "Key takeaways",
    "Source",
    "How to run it",
    "Next lesson",
]
FENCE = re.compile(r"^```(?P<language>\w+)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)
PRINTS = "# prints "
LANGUAGES = {"python", "output", "sh"}


@dataclass(frozen=True)
class Block:
    """A python block. line: of its first line in the file. output: the output block that follows, if there is one."""

    source: str
    line: int
    output: str | None

    @property
    def comments(self) -> list[str]:
        """What its own comments say that it prints."""
        tokens = tokenize.generate_tokens(io.StringIO(self.source).readline)
        return [
            t.string.removeprefix(PRINTS) for t in tokens if t.type == tokenize.COMMENT and t.string.startswith(PRINTS)
        ]

    @property
    def promised(self) -> list[str]:
        """The lines that the text says it prints."""
        assert self.output is None or not self.comments, "an output block already shows what the comments say"
        return self.comments if self.output is None else self.output.splitlines()


def read_blocks(text: str) -> list[Block]:
    """Read the python blocks of a text in their order, each with the output block right after it."""
    fences = list(FENCE.finditer(text))
    assert text.count("```") == 2 * len(fences), "a code block is indented, not closed or without a language"
    assert {fence["language"] for fence in fences} <= LANGUAGES, "a code block is in a language that nothing checks"
    blocks = []
    for fence, following in pairwise([*fences, None]):
        output = following["body"] if following and _shows(fence, following) else None
        if fence["language"] == "python":
            blocks.append(Block(fence["body"], text.count("\n", 0, fence.start("body")) + 1, output))
    shown = sum(block.output is not None for block in blocks)
    assert shown == text.count("```output"), "an output block does not follow the python block that prints it"
    return blocks


def _shows(fence: re.Match[str], following: re.Match[str]) -> bool:
    """Say whether the following block is the output of this one: nothing but space lies between them."""
    return following["language"] == "output" and not fence.string[fence.end() : following.start()].strip()


def run_block(block: Block, *, file: str) -> list[str]:
    """Run a block in a namespace of its own and return the lines that it prints."""
    # Empty lines before the source give a traceback the file's own line numbers.
    code = compile("\n" * (block.line - 1) + block.source, file, "exec")
    with contextlib.redirect_stdout(io.StringIO()) as stdout:
        exec(code, {"__name__": "__main__"})
    return stdout.getvalue().splitlines()


def check_block(block: Block, *, file: str = "README.md") -> None:
    """Run a block; fail unless it prints exactly what the text says, or prints nothing and asserts something."""
    printed = run_block(block, file=file)
    assert printed == block.promised, f"{file}:{block.line} prints {printed}, but the text says {block.promised}"
    asserts = any(isinstance(node, ast.Assert) for node in ast.walk(ast.parse(block.source)))
    assert printed or asserts, f"{file}:{block.line} neither prints nor asserts anything"


def outside_fences(text: str) -> str:
    return FENCE.sub("", text)


def sections(text: str) -> dict[str, str]:
    """Return the second-level sections of a text by their headings, in their order."""
    _, *parts = re.split(r"^## ", outside_fences(text), flags=re.MULTILINE)
    return {heading: body for heading, _, body in (part.partition("\n") for part in parts)}


def broken_links(readme: Path) -> list[str]:
    """Return the relative links that lead nowhere, but for the lesson that the text announces.

    A lesson may announce a later one by linking to its README before its folder exists, if the paragraph says so.
    """
    broken = []
    for paragraph in outside_fences(readme.read_text("utf-8")).split("\n\n"):
        for target in re.findall(r"\]\((?!https?://|#)([^)#\s]+)[^)]*\)", paragraph):
            lesson = re.fullmatch(r"\.\./((\d\d)_\w+)/README\.md", target)
            announced = (
                lesson is not None
                and lesson[2] > readme.parent.name[:2]
                and not (readme.parent.parent / lesson[1]).exists()
                and "not written yet" in " ".join(paragraph.split())
            )
            if not announced and not (readme.parent / target).exists():
                broken.append(target)
    return broken


def of_each_readme() -> pytest.MarkDecorator:
    return pytest.mark.parametrize("readme", READMES, ids=[path.parent.name for path in READMES])


def of_each_block() -> pytest.MarkDecorator:
    found = [(path, block) for path in READMES for block in read_blocks(path.read_text("utf-8"))]
    ids = [f"{path.parent.name}:{block.line}" for path, block in found]
    return pytest.mark.parametrize(("readme", "block"), found, ids=ids)


def test_every_lesson_has_a_text():
    assert READMES
    assert {path.parent for path in LESSONS.glob("*/lesson.py")} <= {path.parent for path in READMES}


@of_each_block()
def test_a_block_prints_what_the_text_says(readme: Path, block: Block):
    check_block(block, file=str(readme.relative_to(ROOT)))


@of_each_readme()
def test_the_sections_are_there_in_order(readme: Path):
    found = sections(readme.read_text("utf-8"))
    assert list(found) == SECTIONS
    assert all(body.strip() for body in found.values())


@of_each_readme()
def test_there_are_five_learning_objectives(readme: Path):
    objectives = sections(readme.read_text("utf-8"))["Learning objectives"]
    assert re.findall(r"^(\d)\. \w", objectives, re.MULTILINE) == list("12345")


@of_each_readme()
def test_the_text_and_the_lesson_have_the_same_title_and_parts(readme: Path):
    lesson = Lesson(readme.parent)
    text = readme.read_text("utf-8")
    assert text.startswith(f"# {lesson.title}\n")
    prose = "\n".join(cell.source for cell in lesson.cells if cell.markdown)
    parts = re.findall(r"^## (\d+\. .*)$", prose, re.MULTILINE)
    assert parts
    assert re.findall(r"^### (.*)$", sections(text)["Code walkthrough"], re.MULTILINE) == parts


@of_each_readme()
def test_every_part_of_the_walkthrough_has_code(readme: Path):
    _, walkthrough = readme.read_text("utf-8").split("\n## Code walkthrough\n")
    _, *parts = re.split(r"^### ", walkthrough.partition("\n## Practice problems\n")[0], flags=re.MULTILINE)
    assert all(read_blocks(part) for part in parts)


@of_each_readme()
def test_links_lead_somewhere(readme: Path):
    assert broken_links(readme) == []


@of_each_readme()
def test_the_commands_name_what_there_is(readme: Path):
    makefile = (ROOT / "Makefile").read_text("utf-8")
    _, run = readme.read_text("utf-8").split("\n## How to run it\n")
    commands = [
        shlex.split(line, comments=True) for fence in FENCE.finditer(run) for line in fence["body"].splitlines()
    ]
    assert commands
    for program, target, *variables in commands:
        if program == "make":
            assert re.search(rf"^{target}:", makefile, re.MULTILINE), f"make {target}"
            assert all(f"$({name.partition('=')[0]})" in makefile for name in variables), variables
        else:
            assert program == "python"
            assert (ROOT / target).is_file(), target


# The tester is tested: each of these texts is wrong in one way.

TENSOR = "import torch\nx = torch.tensor(2.0, requires_grad=True)\n(x**2).backward()\n"
SQUARE = f"{TENSOR}print(x.grad.item())"


def block_of(source: str, output: str | None = None) -> Block:
    text = f"```python\n{source}\n```\n" + ("" if output is None else f"\n```output\n{output}\n```\n")
    (block,) = read_blocks(text)
    return block


@pytest.mark.parametrize(
    "block",
    [block_of(f"{SQUARE}  # prints 4.0"), block_of(SQUARE, "4.0"), block_of(f"{TENSOR}assert x.grad == 4")],
    ids=["comment", "output block", "assertion"],
)
def test_a_true_text_passes(block: Block):
    check_block(block)


@pytest.mark.parametrize(
    "block",
    [
        block_of(f"{SQUARE}  # prints 5.0"),
        block_of(f"{SQUARE}  # prints 4"),
        block_of(SQUARE, "5.0"),
        block_of(SQUARE, "4.0\n4.0"),
        block_of(SQUARE),
        block_of(f"{SQUARE}  # prints 4.0\nprint(x.item())"),
        block_of(f"{SQUARE}  # prints 4.0", "4.0"),
        block_of(f"{TENSOR}x.grad.item()  # prints 4.0"),
        block_of("print('# prints 4.0')"),
        block_of(f"{TENSOR}assert x.grad == 5"),
        block_of(TENSOR),
    ],
    ids=[
        "wrong number",
        "number cut short",
        "wrong output block",
        "output block with a line too many",
        "print without a promise",
        "second print without a promise",
        "promised twice",
        "promise without a print",
        "promise inside a string",
        "wrong assertion",
        "nothing shown",
    ],
)
def test_a_wrong_text_fails(block: Block):
    with pytest.raises(AssertionError):
        check_block(block)


def test_a_warning_in_a_block_fails():
    # .grad of a result that is not a leaf
    with pytest.raises(UserWarning, match="not a leaf"):
        check_block(block_of(f"{TENSOR}print((x * 1).grad)  # prints None"))


def test_blocks_share_no_names():
    check_block(block_of("a = 2\nassert a == 2"))
    with pytest.raises(NameError):
        check_block(block_of("print(a)  # prints 2"))


@pytest.mark.parametrize(
    "text",
    [
        "1. first\n   ```python\n   print(1)  # prints 2\n   ```\n",
        "```python\nprint(1)  # prints 2\n",
        "```py\nprint(1)  # prints 2\n```\n",
        "```\nprint(1)  # prints 2\n```\n",
        "```python\nprint(1)  # prints 1\n```\n\nIt prints:\n\n```output\n2\n```\n",
        "```output\n2\n```\n",
    ],
    ids=["indented", "not closed", "another language", "no language", "output further down", "output of nothing"],
)
def test_a_block_that_would_escape_is_refused(text: str):
    with pytest.raises(AssertionError, match="block"):
        read_blocks(text)


@pytest.mark.parametrize(
    ("text", "broken"),
    [
        ("[a](lesson.py), [b](https://example.org/x), [c](#overview)", []),
        ("[a](nowhere.py) and [b](lesson.py#top)", ["nowhere.py"]),
        ("[next](../07_next/README.md), which is not\nwritten yet", []),
        ("[next](../07_next/README.md)", ["../07_next/README.md"]),
        ("[next](../07_next/README.md)\n\nnot written yet", ["../07_next/README.md"]),
        ("[before](../04_before/README.md), not written yet", ["../04_before/README.md"]),
        ("[its code](../07_next/lesson.py), not written yet", ["../07_next/lesson.py"]),
        ("[there](../06_there/README.md), not written yet", ["../06_there/README.md"]),
    ],
    ids=["good", "nowhere", "announced", "unsaid", "said elsewhere", "earlier", "not its text", "folder exists"],
)
def test_a_dead_link_is_found_unless_it_announces_a_later_lesson(tmp_path: Path, text: str, broken: list[str]):
    for name in ("05_here", "06_there"):
        (tmp_path / name).mkdir()
    (tmp_path / "05_here/lesson.py").touch()
    readme = tmp_path / "05_here/README.md"
    readme.write_text(text, encoding="utf-8")
    assert broken_links(readme) == broken
