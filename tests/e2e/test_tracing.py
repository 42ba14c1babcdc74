"""In the running system, a run is one trace: from the API request or the slot to its row and its candles."""

import uuid
from typing import Any

import httpx
import pytest

from support.black_box import finished, free_symbol, new_config
from support.polling import eventually
from support.traces import ReceivedSpan, TraceEndpoint

pytestmark = [
    pytest.mark.system,
    pytest.mark.kafka,
    pytest.mark.postgres,
    pytest.mark.timeout(600),
    pytest.mark.asyncio(loop_scope="session"),
]

SYMBOL = "XRP/USDT"
COLLECTED = {
    "collector: run",
    "collector: timeframe",
    "collector: exchange request",
    "collector: send candles",
    "collector: send run-events",
    "candle-writer: store CandlesCollected",
    "log-writer: store RunStarted",
    "log-writer: store RunFinished",
}
SENT_BY_THE_API = {"admin-api: POST /api/v1/admin/data-collection/configs/{config_id}/trigger", "admin-api: send ticks"}


async def finished_by(api: httpx.AsyncClient, config: dict[str, Any], trigger: str) -> dict[str, Any]:
    """A finished run of the config with this trigger. A scheduled one comes within a minute."""

    async def find() -> dict[str, Any] | None:
        runs = (await api.get("/execution-logs", params={"job_name": config["job_id"]})).json()
        return next((run for run in runs if (run["trigger"], run["status"]) == (trigger, "success")), None)

    return await eventually(find, within=150)


async def trace_with(traces: TraceEndpoint, run_id: str, steps: set[str]) -> list[ReceivedSpan]:
    """The trace of the run when it has all these steps."""

    def complete() -> list[ReceivedSpan]:
        trace = traces.trace_of(run_id)
        missing = steps - {span.step for span in trace}
        assert not missing, missing
        return trace

    return await eventually(complete, within=60)


def require_connected(trace: list[ReceivedSpan], root: str) -> None:
    """All spans are below one first span."""
    ids = {span.span_id for span in trace}
    assert [span.step for span in trace if span.parent_id not in ids] == [root]
    assert trace[0].step == root


async def test_manual_and_scheduled_runs_are_one_trace_each(api: httpx.AsyncClient, traces: TraceEndpoint) -> None:
    await free_symbol(api, SYMBOL)
    config = await new_config(api, symbol=SYMBOL, timeframes=["1m", "5m"], interval_minutes=1, enabled=True)
    initial = await finished_by(api, config, "initial")

    caller = f"00-{uuid.uuid4().hex}-00f067aa0ba902b7-01"
    headers = {"Idempotency-Key": str(uuid.uuid4()), "traceparent": caller}
    response = await api.post(f"/configs/{config['id']}/trigger", headers=headers)
    manual = await finished(api, run_id=response.json()["run_id"])
    assert manual["status"] == "success"

    trace = await trace_with(traces, manual["run_id"], COLLECTED | SENT_BY_THE_API)
    require_connected(trace, "admin-api: POST /api/v1/admin/data-collection/configs/{config_id}/trigger")
    request = trace[0]
    assert request.links == (caller.split("-")[1],)
    assert request.attributes["request_id"] == response.headers["X-Request-ID"]
    assert request.attributes["http.response.status_code"] == 202
    [run] = [span for span in trace if span.name == "run"]
    assert run.attributes["status"] == "success"
    assert run.attributes["candles"] == manual["records_collected"]
    timeframes = [span for span in trace if span.name == "timeframe"]
    assert {span.attributes["timeframe"] for span in timeframes} == {"1m", "5m"}
    assert sum(span.attributes["pages"] for span in timeframes) >= 2
    for fetch in (span for span in trace if span.name == "exchange request"):
        known = {"run_id", "exchange", "symbol", "timeframe", "http_status", "error.type"}
        assert fetch.attributes.keys() <= known  # no URL
        assert fetch.attributes["exchange"] == "binance"
        assert fetch.attributes["symbol"] == SYMBOL
        assert fetch.attributes["timeframe"] in {"1m", "5m"}

    def all_candles_are_stored() -> bool:
        stored = [span for span in traces.trace_of(manual["run_id"]) if span.name == "store CandlesCollected"]
        return sum(span.attributes["candles"] for span in stored) >= manual["records_collected"]

    await eventually(all_candles_are_stored, within=60)

    created = await trace_with(traces, initial["run_id"], COLLECTED | {"admin-api: send config-changes"})
    assert created[0].step == "admin-api: POST /api/v1/admin/data-collection/configs"

    scheduled = await finished_by(api, config, "scheduled")
    trace = await trace_with(traces, scheduled["run_id"], COLLECTED | {"scheduler: send ticks"})
    require_connected(trace, "scheduler: send ticks")
    await api.delete(f"/configs/{config['id']}")
