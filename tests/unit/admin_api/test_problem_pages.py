"""Each problem type has its own page, and each page belongs to an existing problem type."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import admin_api.app
from admin_api.http.errors import ApiError
from admin_api.http.problems import HTTP_PROBLEMS, INTERNAL_ERROR

PAGES = Path(__file__).parents[3] / "docs/problems"
_HEAD = re.compile(r"# (?P<title>.+)\n\n`urn:candlekeep:problem:(?P<slug>[a-z-]+)`, HTTP (?P<status>\d+)\n\n")


def every_error(kind: type[ApiError] = ApiError) -> Iterator[type[ApiError]]:
    for each in kind.__subclasses__():
        yield each
        yield from every_error(each)


def every_problem() -> dict[str, tuple[int, str]]:
    """Status and title by slug. The import of `admin_api.app` has imported all error classes."""
    assert admin_api.app.build_api
    found = {error.slug: (error.status, error.title) for error in every_error()}
    found |= {slug: (status, title) for status, (slug, title, _) in HTTP_PROBLEMS.items()}
    status, slug, title = INTERNAL_ERROR
    return found | {slug: (status, title)}


@pytest.mark.parametrize(("slug", "facts"), sorted(every_problem().items()))
def test_every_problem_has_a_page_that_says_when_it_occurs_and_what_to_do(slug: str, facts: tuple[int, str]) -> None:
    page = (PAGES / f"{slug}.md").read_text(encoding="utf-8")
    head = _HEAD.match(page)
    assert head
    assert (head["slug"], int(head["status"]), head["title"]) == (slug, *facts)
    assert "**When.** " in page
    assert "**What to do.** " in page
    assert f"[{slug}]({slug}.md) | {facts[1]} |" in (PAGES / "README.md").read_text(encoding="utf-8")


def test_every_page_belongs_to_a_problem() -> None:
    assert {page.stem for page in PAGES.glob("*.md")} - {"README"} == every_problem().keys()
