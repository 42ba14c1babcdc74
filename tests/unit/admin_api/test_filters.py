from typing import Any
from uuid import uuid4

import pytest
import sqlalchemy as sa

from admin_api.runs.queries import RunFilters
from store.tables import execution_logs

LEADING = {index.columns[0].name for index in execution_logs.indexes} | {
    constraint.columns[0].name
    for constraint in execution_logs.constraints
    if isinstance(constraint, sa.UniqueConstraint)
}
SAMPLES: dict[str, Any] = {
    "job_name": "collect_data_1",
    "job_type": "data_collection",
    "symbol": "BTC/USDT",
    "exchange": "binance",
    "status": "failed",
    "error_class": "timeout",
    "timeframe": "1h",
    "config_id": 1,
    "run_id": uuid4(),
    "start_date": "2026-11-22T10:00:00Z",
    "end_date": "2026-11-22T10:00:00Z",
}


def test_every_filter_has_a_sample() -> None:
    assert set(SAMPLES) == RunFilters.model_fields.keys() - {"skip", "limit", "sort", "cursor"}


@pytest.mark.parametrize("name", SAMPLES)
def test_every_filter_of_the_run_log_uses_the_first_column_of_an_index(name: str) -> None:
    condition, *_ = RunFilters.model_validate({name: SAMPLES[name]}).conditions(["collect_data_1"])
    (column,) = [part.name for part in sa.sql.visitors.iterate(condition) if isinstance(part, sa.Column)]
    assert column in LEADING
