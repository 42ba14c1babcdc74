"""Two or three faults at once, at random, against a system that is being operated: `make nemesis` is the long form."""

from pathlib import Path

import pytest

from support.faults.nemesis.report import report
from support.faults.nemesis.run import run

pytestmark = [
    pytest.mark.faults,
    pytest.mark.kafka,
    pytest.mark.real_kafka,
    pytest.mark.postgres,
    pytest.mark.timeout(420),
]
SEED = 20_261_122


async def test_no_guarantee_breaks_when_everything_else_does_at_random(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KAFKA_BOOTSTRAP_SERVERS", raising=False)  # servers of our own, which nobody minds losing
    monkeypatch.delenv("DATABASE_URL", raising=False)
    monkeypatch.setenv("CANDLEKEEP_KAFKA", "real")
    told = await run(tmp_path, seed=SEED, seconds=75, configs=100)
    print(report([told]))
    assert told.violations == []
    assert told.recovered_after is not None
    assert len(told.injected) >= 6
