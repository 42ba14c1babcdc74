"""Sentences of Markdown and of Python files, with the line where each begins."""

import ast
import io
import re
import tokenize
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

_SENTENCE_END = re.compile(r"[.!?]+[\"')\]*]*\s+(?=[\"'(\[*]*[`A-Z0-9])")
_CODE_SPAN = re.compile(r"``.+?``|`[^`]*`")
_ABBREVIATION = re.compile(r"\b(e\.g|i\.e|etc|vs)\.\s+$")
_LIST_ITEM = re.compile(r"([-*+]|\d+[.)])\s+")
_MIN_WORDS_OF_A_CELL = 5
_NO_SENTENCE = re.compile(r"[A-Z_]{2,}\b|\S*$|.*\n", re.DOTALL)
"""A string is not a sentence if it begins in capitals (SQL), is one word, or has several lines."""
_PARAGRAPH = re.compile(r"\S(?:.|\n(?!\s*\n))*")
_TABLE = re.compile(r"\S {2,}\S")
"""A paragraph of a docstring with columns, such as a list of commands."""


class Sentence(NamedTuple):
    """A sentence and the line on which its paragraph begins."""

    line: int
    text: str


def word_count(text: str) -> int:
    """The number of words; a code span is one word, numbers do not count."""
    return len(re.findall(r"[A-Za-z][\w'-]*", _CODE_SPAN.sub(" code ", text)))


def sentences_of(path: Path) -> Iterator[Sentence]:
    """The prose of a `.md` file, or the docstrings, comments and strings of a `.py` file."""
    blocks = _markdown_blocks(path) if path.suffix == ".md" else _python_blocks(path)
    for line, text in blocks:
        for sentence in _split(text):
            yield Sentence(line, sentence)


def _split(text: str) -> Iterator[str]:
    text = re.sub(r"\s+", " ", text).strip()
    spans: list[str] = _CODE_SPAN.findall(text)
    hidden = _CODE_SPAN.sub("`", text)  # a full stop in code does not end a sentence
    start = 0
    for end in [*(match.end() for match in _SENTENCE_END.finditer(hidden)), len(hidden)]:
        if _ABBREVIATION.search(hidden[start:end]):
            continue
        part = re.sub("`", lambda _: spans.pop(0), hidden[start:end]).strip()
        start = end
        if part:
            yield part


def _markdown_blocks(path: Path) -> Iterator[tuple[int, str]]:
    """Headings, paragraphs, list items and longer table cells, without code blocks."""
    for number, lines in _paragraphs(path.read_text(encoding="utf-8").splitlines()):
        text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", " ".join(lines)).replace("**", "")
        if text.startswith("|"):
            cells = re.split(r"(?<!\\)\|", text.strip("|"))
            yield from ((number, cell) for cell in cells if word_count(cell) >= _MIN_WORDS_OF_A_CELL)
        else:
            yield number, re.sub(r"^(#+\s+|>\s+|([-*+]|\d+[.)])\s+)", "", text)


def _paragraphs(lines: Iterable[str]) -> Iterator[tuple[int, list[str]]]:
    first_line, block, in_code = 0, list[str](), False
    for number, raw in enumerate([*lines, ""], 1):
        line = raw.strip()
        fence = line.startswith(("```", "~~~"))
        own_line = line.startswith(("|", "#"))
        if block and (not line or fence or own_line or _LIST_ITEM.match(line)):
            yield first_line, block
            block = []
        if fence:
            in_code = not in_code
        elif in_code:
            continue
        elif own_line:
            yield number, [line]
        elif line:
            first_line = first_line if block else number
            block.append(line)


def _python_blocks(path: Path) -> Iterator[tuple[int, str]]:
    source = path.read_text(encoding="utf-8")
    yield from _comments(source)
    tree = ast.parse(source)
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    in_templates = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in ast.walk(tree):
        if not isinstance(node, ast.Constant) or not isinstance(node.value, str) or id(node) in in_templates:
            continue
        if id(node) in docstrings:
            for paragraph in _PARAGRAPH.finditer(node.value):
                if not _TABLE.search(paragraph.group()):
                    yield node.lineno + node.value.count("\n", 0, paragraph.start()), paragraph.group()
        elif not _NO_SENTENCE.match(node.value):
            yield node.lineno, node.value


def _comments(source: str) -> Iterator[tuple[int, str]]:
    first_line, last, block = 0, -1, list[str]()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type != tokenize.COMMENT:
            continue
        text = token.string.lstrip("#: ").partition("noqa")[0]
        own_line = token.line.lstrip().startswith("#")
        if block and not (own_line and token.start[0] == last + 1):
            yield first_line, " ".join(block)
            block = []
        first_line = first_line if block else token.start[0]
        last = token.start[0]
        block.append(text)
    if block:
        yield first_line, " ".join(block)
