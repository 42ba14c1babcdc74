"""The rights in Kafka that docs/security.md lists are those that the topics declare."""

import re
from pathlib import Path

import pytest

from contracts.topics import ALL_TOPICS

PAGE = (Path(__file__).parents[2] / "docs/security.md").read_text()
SERVICES = sorted({name for topic in ALL_TOPICS for name in (*topic.producers, *topic.consumers)})


def _rows() -> dict[str, tuple[set[str], set[str]]]:
    """The topics that each service writes, and those that it reads."""
    section = PAGE.partition("### Rights in Kafka")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| ([a-z-]+) \| (.*?) \| (.*?) \|$", section, flags=re.MULTILINE)
    return {name: (set(re.findall(r"`(.+?)`", write)), set(re.findall(r"`(.+?)`", read))) for name, write, read in rows}


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_needs_the_listed_rights(service: str) -> None:
    written = {topic.name for topic in ALL_TOPICS if service in topic.producers}
    read = {topic.name for topic in ALL_TOPICS if service in topic.consumers}
    assert _rows()[service] == (written, read)
