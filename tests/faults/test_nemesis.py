"""Two or three random faults at once in a system with an active operator. `make nemesis` is the long form."""

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


async def test_all_guarantees_hold_during_random_faults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KAFKA_BOOTSTRAP_SERVERS", raising=False)  # the test's own servers, which it may kill
    monkeypatch.delenv("DATABASE_URL", raising=False)
    monkeypatch.setenv("CANDLEKEEP_KAFKA", "real")
    result = await run(tmp_path, seed=SEED, seconds=75, configs=100)
    print(report([result]))
    assert result.violations == []
    assert result.recovered_after is not None
    assert len(result.injected) >= 6
