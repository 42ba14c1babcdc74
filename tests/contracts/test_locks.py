import re
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parents[2]
SAME_PURPOSE = {"0008_the_run_log_by_exchange.py": "0003_the_run_log_by_the_hour.py"}
"""Both add run changes to the counts, but never at the same time."""
LOCK_NUMBER = re.compile(r"\b7_?226_?501_?\d{3}\b")


def test_each_advisory_lock_has_one_purpose() -> None:
    users = defaultdict(set)
    for folder in ("libs", "services"):
        for path in (ROOT / folder).rglob("src/**/*.py"):
            for number in LOCK_NUMBER.findall(path.read_text(encoding="utf-8")):
                users[int(number.replace("_", ""))].add(SAME_PURPOSE.get(path.name, path.name))
    assert len(users) >= 4
    assert {number: names for number, names in users.items() if len(names) > 1} == {}
