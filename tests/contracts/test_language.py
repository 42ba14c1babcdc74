"""Prose and names stay in plain English: docs/glossary.md lists the words that are not used.

The glossary is the only list of words, and the table of renames in CHANGELOG.md the only list of old names.
"""

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

from support.prose import sentences_of, word_count

ROOT = Path(__file__).parents[2]

COVERED = [
    "*.md",
    "docs/**/*.md",
    "benchmarks/README.md",
    "deploy/README.md",
    "deploy/helm/*/README.md",
    "deploy/helm/*.py",
    "libs/*/README.md",
    "services/*/README.md",
    "tools/*/README.md",
    ".env.example",
    "deploy/**/*.yml",
    "deploy/**/*.yaml",
    "libs/**/*.py",
    "services/**/*.py",
    "tools/**/*.py",
    "benchmarks/**/*.py",
    "release/**/*.py",
    "tests/**/*.py",
    "tests/faults/guards/*.toml",
]
"""Globs of the files that are checked: `.md` and `.py` by words and sentences, others by words only."""

NOT_CHECKED = {"tests/contracts/test_language.py"}
"""Its own examples of what not to write."""

PLACES_OF_OLD_WORDS = {
    "docs/glossary.md": re.compile(r"Not used:.*|^\|.*", re.MULTILINE),
    "CHANGELOG.md": re.compile(r"^\|.*", re.MULTILINE),
    "CONTRIBUTING.md": re.compile(r"^\|.*", re.MULTILINE),
    "services/collector/src/collector/exchange/client.py": re.compile(r"client\.throttler"),  # ccxt's own name
    "docs/exchanges.md": re.compile(r"`gate`"),  # an exchange
    "tests/unit/collector/test_absences.py": re.compile(r'"gate"'),  # an exchange
    "services/collector/src/collector/exchange/traits_table.py": re.compile(r'"gate"|gate\.(py|com)'),  # an exchange
}
"""Text that must name old words: the lists themselves, the examples of what not to write, and names of libraries."""

KEPT_NAMES = re.compile(r"\bclosed_by_sweep\b|[\"`]nobody[\"`]")
"""A column of the run log, an alert, and a user of Unix."""

NAME_OF_A_TEST = re.compile(r"[\w/.]*\btest_\w+\.py(::[^`]+)?")
"""A reference to a test repeats its name; the name is checked in the test's own file."""

LONGEST_SENTENCE = 34

_INVERSION = re.compile(
    r"(Did|Is|Are|Was|Were|Does|Has|Had|Should) "
    r"(it|they|he|we|you|one|there|this|that|these|those|the|a|an|both|either|somebody|something|anything) "
    r"[^?]*,[^?]*$"
)
_NOUN_CLAUSE = re.compile(r"(^|[;:(] )(what|who)(?! to)\b|(^|[,;:(] )(whoever|whatever|whom)\b|, what\b", re.IGNORECASE)


class Banned(NamedTuple):
    """A word that is not used, and the word to write instead."""

    word: str
    instead: str


def banned_words(glossary: str) -> list[Banned]:
    """From the entries' "Not used" lists and from the table of words at the end."""
    entries = re.findall(r"^- \*\*(.+?)\.\*\*.* Not used: (.+)\.$", glossary, re.MULTILINE)
    found = [Banned(word, term.lower()) for term, words in entries for word in re.findall(r"\*(.+?)\*", words)]
    table = glossary.partition("| not used | write instead |")[2]
    for words, instead in re.findall(r"^\| ([^|]*[a-z][^|]*) \| ([^|]+) \|$", table, re.MULTILINE):
        found += [Banned(word, instead) for word in words.split(", ")]
    return found


def old_names(changelog: str) -> list[Banned]:
    """Old settings, metrics, log actions and modules from the tables with the heading `| old | new |`."""
    tables = re.findall(r"^\| old \| new \|\n\|[-| ]+\n((?:\|.*\n)+)", changelog, re.MULTILINE)
    rows = [row for table in tables for row in re.findall(r"^\| `(.+?)` \| (.+?) \|$", table, re.MULTILINE)]
    return [Banned(old, new) for old, new in rows]


@cache
def _banned() -> dict[re.Pattern[str], Banned]:
    words = banned_words((ROOT / "docs/glossary.md").read_text(encoding="utf-8"))
    names = old_names((ROOT / "CHANGELOG.md").read_text(encoding="utf-8"))
    return {_word_pattern(each.word): each for each in words} | {_name_pattern(each.word): each for each in names}


def _word_pattern(word: str) -> re.Pattern[str]:
    """Matches in prose, over line breaks (also of comments), in snake_case and in CamelCase."""
    parts = [re.escape(part) for part in re.split(r"[ -]", word)]
    separated = r"[\s_#-]+".join(parts)
    camel = "".join(part[0].upper() + part[1:] for part in parts)
    return re.compile(rf"(?<![A-Za-z])(?i:{separated})(?![A-Za-z])|{camel}(?![a-z])")


def _name_pattern(name: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![\w.]){re.escape(name)}(_total)?(?!\w)", re.IGNORECASE)


def word_problems(text: str, where: str) -> Iterator[str]:
    """One line per banned word: place, word, and the word to use."""
    for pattern, banned in _banned().items():
        for match in pattern.finditer(text):
            line = text.count("\n", 0, match.start()) + 1
            yield f"{where}:{line}: '{match.group()}' is not used; write: {banned.instead}"


def sentence_problems(text: str, where: str) -> Iterator[str]:
    """One line per pattern that makes a sentence hard to read."""
    plain = re.sub(r"^[\"'*_(]+", "", text)
    if (words := word_count(text)) > LONGEST_SENTENCE:
        yield f"{where}: {words} words; split the sentence: {text}"
    if _INVERSION.match(plain):
        yield f"{where}: inverted clause; begin with 'if' or 'when': {text}"
    if not text.rstrip("*\")'").endswith("?") and _NOUN_CLAUSE.search(plain):
        yield f"{where}: what/who clause used as a noun; name the thing: {text}"


def _blanked(match: re.Match[str]) -> str:
    return re.sub(r"[^\n]", " ", match.group())


def _checked_text(path: Path, name: str) -> str:
    text = KEPT_NAMES.sub(_blanked, NAME_OF_A_TEST.sub(_blanked, path.read_text(encoding="utf-8")))
    places = PLACES_OF_OLD_WORDS.get(name)
    return places.sub(_blanked, text) if places else text


def covered_files() -> list[str]:
    return sorted({str(path.relative_to(ROOT)) for glob in COVERED for path in ROOT.glob(glob)} - NOT_CHECKED)


@pytest.mark.parametrize("name", covered_files())
def test_no_word_is_used_that_the_glossary_replaces(name: str) -> None:
    problems = list(word_problems(_checked_text(ROOT / name, name), name))
    assert not problems, "\n" + "\n".join(problems)


@pytest.mark.parametrize("name", [name for name in covered_files() if name.endswith((".md", ".py"))])
def test_sentences_are_short_and_direct(name: str) -> None:
    examples = PLACES_OF_OLD_WORDS.get(name)
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    problems = [
        problem
        for sentence in sentences_of(ROOT / name)
        if not (examples and examples.match(lines[sentence.line - 1]))
        for problem in sentence_problems(sentence.text, f"{name}:{sentence.line}")
    ]
    assert not problems, "\n" + "\n".join(problems)


def test_the_glossary_and_the_changelog_list_words_and_names() -> None:
    words = banned_words((ROOT / "docs/glossary.md").read_text(encoding="utf-8"))
    names = old_names((ROOT / "CHANGELOG.md").read_text(encoding="utf-8"))
    assert Banned("in hand", "in flight") in words
    assert Banned("for ever", "forever, indefinitely") in words
    assert Banned("MAX_RUNS", "`MAX_SHARED_RUNS`") in names
    assert len({each.word for each in words}) == len(words)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("It was put aside.", 1),
        ("one line\nthat was put\naside", 2),
        ("# a comment that is put\n    # aside", 1),
        ("class WaitingRoom:", 1),
        ("def in_hand_of(x): ...", 1),
        ("\nmax_runs: int", 2),
        ("rate(candlekeep_scheduler_slots_passed_over_total[1h])", 1),
    ],
)
def test_an_old_word_is_found_in_each_form(text: str, line: int) -> None:
    problems = list(word_problems(text, "here"))
    assert problems
    assert all(problem.startswith(f"here:{line}: ") for problem in problems)


@pytest.mark.parametrize("text", ["MAX_RUNS_PER_LANE", "handing over", "renewal", "strings", "the handler"])
def test_other_words_are_left_alone(text: str) -> None:
    assert list(word_problems(text, "here")) == []


@pytest.mark.parametrize(
    "text",
    [
        " ".join(["word"] * 35),
        "Did it end, its supervisor would start it again.",
        "Is the release at fault, deploy another one.",
        "What is published to be remembered.",
        "Who was replaced says nothing of its past.",
        "It restarts the service, whatever happened.",
        "The rule is simple: who comes last waits.",
    ],
)
def test_a_sentence_that_is_hard_to_read_is_found(text: str) -> None:
    assert list(sentence_problems(text, "here"))


@pytest.mark.parametrize(
    "text",
    [
        "What does the state say?",
        "What to do.",
        "Has no effect, because the row is gone.",
        "Ask the operator, who has the key.",
        "It shows what is stored.",
    ],
)
def test_plain_sentences_questions_and_relative_clauses_pass(text: str) -> None:
    assert list(sentence_problems(text, "here")) == []


def test_sentences_are_taken_from_markdown_and_from_python(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# Title\n\nOne `a. b` sentence. A second\none.\n\n```\nno prose\n```\n| x | a cell of five words |\n- item\n"
    )
    assert list(sentences_of(page)) == [
        (1, "Title"),
        (3, "One `a. b` sentence."),
        (3, "A second one."),
        (9, "a cell of five words"),
        (10, "item"),
    ]
    module = tmp_path / "module.py"
    module.write_text(
        '"""First.\n\nSecond one.\n\n    run x   does x\n"""\n'
        '# A comment\n# of two lines.\nlog("It failed", q="SELECT it")\n'
    )
    assert sorted(sentences_of(module)) == [
        (1, "First."),
        (3, "Second one."),
        (7, "A comment of two lines."),
        (9, "It failed"),
    ]
