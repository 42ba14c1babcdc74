"""Filters that do not compare one column: timeframes and error classes of runs, and words in configs."""

import httpx
import pytest

from support.api import created

from .test_lists import AddRun, walk

pytestmark = pytest.mark.postgres


async def test_runs_are_filtered_by_error_class_and_by_timeframe_also_in_the_export(
    client: httpx.AsyncClient, add_run: AddRun
) -> None:
    hourly = await created(client, timeframes=["1h"])
    minutely = await created(client, timeframes=["1m"], symbol="ETH/USDT")
    of = {each["id"]: {"config_id": each["id"], "metadata": {"timeframes": each["timeframes"]}} for each in (hourly, minutely)}  # fmt: skip  # noqa: E501
    runs = {
        "hourly": await add_run(minutes_ago=9, **of[hourly["id"]]),
        "timeout": await add_run(minutes_ago=8, status="failed", **of[hourly["id"]]),
        "banned": await add_run(minutes_ago=7, status="failed", error_class="banned", **of[minutely["id"]]),
        "skipped": await add_run(minutes_ago=6, status="skipped", error_class="superseded", **of[minutely["id"]]),
        # A repair of one timeframe, and a run before the config was changed.
        "repair": await add_run(minutes_ago=5, config_id=minutely["id"], metadata={"timeframes": ["4h"]}),
        "before": await add_run(minutes_ago=4, config_id=hourly["id"], metadata={"timeframes": ["1m", "1h"]}),
    }
    for filters, expected in [
        ({"timeframe": "1h"}, ["before", "timeout", "hourly"]),
        ({"timeframe": "1m"}, ["skipped", "banned"]),
        ({"timeframe": "4h"}, []),
        ({"error_class": "timeout"}, ["timeout"]),
        ({"error_class": "superseded"}, ["skipped"]),
        ({"error_class": "banned", "timeframe": "1h"}, []),
        ({"error_class": "banned", "status": "skipped"}, []),
    ]:
        assert await walk(client, "/execution-logs", limit=2, **filters) == [runs[each] for each in expected], filters
        lines = (await client.get("/execution-logs/export", params=filters)).text.splitlines()
        assert [int(each.split(",")[0]) for each in lines[1:]] == [runs[each] for each in expected], filters
    assert (await client.get("/execution-logs", params={"error_class": "nothing"})).status_code == 422


@pytest.mark.parametrize(
    ("search", "expected"),
    [
        ("btc", {"BTC/USDT", "BTC/EUR"}),
        ("BTC kraken", {"BTC/EUR"}),
        ("4h", {"ETH/USDT"}),
        ("100%", {"ETH/USDT"}),
        ("btc nothing", set()),
        (" ", {"BTC/USDT", "BTC/EUR", "ETH/USDT"}),
    ],
)
async def test_configs_are_found_by_words(client: httpx.AsyncClient, search: str, expected: set[str]) -> None:
    await created(client, symbol="BTC/USDT", timeframes=["1h"])
    await created(client, symbol="BTC/EUR", exchange="kraken", timeframes=["1h"])
    await created(client, symbol="ETH/USDT", timeframes=["4h"], description="Must be 100% whole")
    found = await client.get("/configs", params={"q": search, "sort": "symbol"})
    assert {each["symbol"] for each in found.json()} == expected
    assert found.headers["X-Total-Count"] == str(len(expected))
