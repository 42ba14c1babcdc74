"""`candlekeep` against the API over HTTP: its tables, its JSON and its exit codes."""

import asyncio
import csv
import json
import sys
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from uuid import uuid4

import pytest
import sqlalchemy as sa

from admin_api.app import AdminApi
from candle_writer.recount import recount_outdated
from contracts.coverage import to_milliseconds
from contracts.timeframes import DAY_MS
from store.tables import candles, execution_logs, series
from support.api import TOKEN
from support.stored_ledgers import AbsentSpan, store_ledger, store_series

from .conftest import Candlekeep

pytestmark = pytest.mark.postgres

ADD = ("configs", "add", "binance", "BTC/USDT", "--timeframes", "1m,1h", "--every", "5")


async def add_runs(api: AdminApi, count: int) -> None:
    now = datetime.now(UTC)
    rows = [
        {
            "job_name": "collect_data_1",
            "job_type": "data_collection",
            "symbol": "BTC/USDT",
            "exchange": "binance",
            "started_at": now - timedelta(minutes=number + 1),
            "finished_at": now - timedelta(minutes=number),
            "duration_seconds": 1.5,
            "status": "failed" if number % 2 else "success",
            "records_collected": 6,
            "error_message": "no answer" if number % 2 else None,
            "error_class": "timeout" if number % 2 else None,
            "metadata": {},
            "run_id": uuid4(),
            "config_id": 1,
            "trigger": "scheduled",
            "scheduled_for": now,
        }
        for number in range(count)
    ]
    async with api.engine.begin() as connection:
        await connection.execute(sa.insert(execution_logs), rows)


async def test_a_config_is_added_changed_disabled_enabled_and_deleted(candlekeep: Candlekeep) -> None:
    empty = await candlekeep("configs", "list")
    assert (empty.code, empty.out) == (0, "")
    assert "configs add" in empty.err
    added = await candlekeep(*ADD, "--json")
    assert (added.code, json.loads(added.out)["timeframes"]) == (0, ["1m", "1h"])
    shown = await candlekeep("configs", "list")
    assert "BTC/USDT" in shown.out
    assert "5 min" in shown.out
    changed = await candlekeep("configs", "set", "1", "--every", "15", "--description", "spot", "--json")
    assert (json.loads(changed.out)["interval_minutes"], json.loads(changed.out)["description"]) == (15, "spot")
    assert (await candlekeep("configs", "disable", "1")).code == 0
    assert json.loads((await candlekeep("configs", "list", "--disabled", "--json")).out)[0]["id"] == 1
    assert (await candlekeep("configs", "enable", "1")).code == 0
    kept = await candlekeep("configs", "rm", "1", typed="n\n")
    assert kept.code == 1
    assert (await candlekeep("configs", "show", "1")).code == 0
    assert (await candlekeep("configs", "rm", "1", "--yes")).code == 0
    assert (await candlekeep("configs", "show", "1")).code == 1


async def test_a_concurrent_change_is_not_overwritten(candlekeep: Candlekeep) -> None:
    version = json.loads((await candlekeep(*ADD, "--json")).out)["version"]
    assert (await candlekeep("configs", "set", "1", "-e", "20", "--if-version", str(version))).code == 0
    stale = await candlekeep("configs", "set", "1", "-e", "30", "--if-version", str(version))
    assert stale.code == 1
    assert json.loads((await candlekeep("configs", "show", "1", "--json")).out)["interval_minutes"] == 20


async def test_each_error_has_its_exit_code_and_a_helpful_message(candlekeep: Candlekeep, tmp_path: Path) -> None:
    refused = await candlekeep("configs", "add", "nowhere", "BTC/USDT", "-t", "1m")
    assert (refused.code, refused.out) == (1, "")
    assert refused.err.startswith("candlekeep: ")
    assert "Traceback" not in refused.err
    assert (await candlekeep("stats", CANDLEKEEP_TOKEN="x" * 30)).code == 1
    without = await candlekeep("stats", CANDLEKEEP_TOKEN="", HOME=str(tmp_path), XDG_CONFIG_HOME="")
    assert without.code == 2
    assert "CANDLEKEEP_TOKEN" in without.err
    assert (await candlekeep("stats", "--ours")).code == 2
    assert (await candlekeep("configs", "set", "1")).code == 2
    unreachable = await candlekeep("stats", CANDLEKEEP_URL="http://127.0.0.1:1")
    assert unreachable.code == 3
    assert "does not answer" in unreachable.err
    await candlekeep(*ADD)
    late = await candlekeep("configs", "trigger", "1", "--wait", "--timeout", "1")
    assert late.code == 5
    assert "no collector has started it" in late.err


async def test_runs_are_listed_over_several_pages_and_shown(candlekeep: Candlekeep, api: AdminApi) -> None:
    await add_runs(api, 1205)
    all_of_them = json.loads((await candlekeep("logs", "list", "--most", "5000", "--json")).out)
    assert len({run["id"] for run in all_of_them}) == 1205
    assert len(json.loads((await candlekeep("logs", "list", "--status", "failed", "-n", "7", "--json")).out)) == 7
    tail = (await candlekeep("logs", "tail", "-n", "2")).out.splitlines()
    assert ["timeout" in line or "no answer" in line for line in tail] == [True, False]
    shown = await candlekeep("logs", "show", str(all_of_them[0]["id"]))
    assert all_of_them[0]["run_id"] in shown.out
    stats = await candlekeep("stats", "--hours", "720", "--json")
    assert json.loads(stats.out)["total_executions"] == 1205
    assert "success rate" in (await candlekeep("stats")).out
    assert "total configs" in (await candlekeep("status")).out


async def test_candles_are_printed_as_csv_and_as_a_table(candlekeep: Candlekeep, api: AdminApi) -> None:
    opened = datetime(2026, 3, 1, 10, tzinfo=UTC)
    async with api.engine.begin() as connection:
        one = {"exchange": "binance", "symbol": "BTC/USDT", "timeframe": "1m"}
        series_id = (await connection.execute(sa.insert(series).values(one).returning(series.c.id))).scalar_one()
        row = {"open": 1.0, "high": 3.0, "low": 0.5, "close": 2.0, "volume": 10.0, "fetched_at": opened}
        await connection.execute(sa.insert(candles).values(series_id=series_id, open_time=opened, **row))
    answer = await candlekeep("candles", "binance", "BTC/USDT", "1m", "--csv")
    (found,) = csv.DictReader(StringIO(answer.out))
    assert (float(found["open"]), float(found["close"])) == (1.0, 2.0)
    assert "2026-03-01 10:00:00" in (await candlekeep("candles", "binance", "BTC/USDT", "1m")).out


async def test_coverage_is_printed_and_its_exit_code_says_if_the_range_is_whole(
    candlekeep: Candlekeep, api: AdminApi
) -> None:
    ten, minute = to_milliseconds(datetime(2026, 3, 1, 10, tzinfo=UTC)), 60_000
    series_id = await store_series(api.engine, ten, ten)
    spans = [(ten, ten + 10 * minute), (ten + 20 * minute, ten + 30 * minute)]
    hole = AbsentSpan(ten + 10 * minute, ten + 15 * minute, "unknown")
    await store_ledger(api.engine, series_id, spans, [hole])
    names = ("coverage", "binance", "BTC/USDT", "1m")

    shown = await candlekeep(*names, "--end", "2026-03-01T10:30")
    assert shown.code == 6
    assert shown.err == "candlekeep: binance BTC/USDT 1m is not whole: 10 of 30 periods are not verified.\n"
    assert "66.6666 %" in shown.out
    assert "2026-03-01 10:10:00" in shown.out
    assert "evidence for unknown" in shown.out
    as_json = await candlekeep(*names, "--end", "2026-03-01T10:30", "--json")
    assert as_json.code == 6
    assert [each["absence_class"] for each in json.loads(as_json.out)["open_holes"]] == ["unknown", "unknown"]

    whole = await candlekeep(*names, "--start", "2026-03-01T10:00", "--end", "2026-03-01T10:10")
    assert (whole.code, whole.err) == (0, "No open holes.\n")
    assert "100.0000 %" in whole.out
    until_now = await candlekeep(*names, "--start", "2026-03-01T10:20")
    assert until_now.code == 0, "the time after the last verified span does not count without --end"
    assert "2026-03-01 10:30:00 to " in until_now.out
    later = await candlekeep(*names, "--start", "2026-03-01T10:20", "--end", "2026-03-01T10:40")
    assert (later.code, "10 of 20 periods" in later.err) == (6, True)

    few = await candlekeep(*names, "-n", "1")
    assert "more spans" in few.err
    assert (await candlekeep(*names, "--start", "2026-03-01T11:00")).code == 6, "nothing there is verified"
    assert (await candlekeep(*names, "--start", "2999-01-01")).code == 6, "nothing there has closed"
    assert (await candlekeep("coverage", "okx", "BTC/USDT", "1m")).code == 1, "there is no such series"


async def test_completeness_is_printed_in_total_in_groups_and_by_day(candlekeep: Candlekeep, api: AdminApi) -> None:
    midnight = to_milliseconds(datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0))
    for exchange, verified_days in (("binance", [(-3, -1)]), ("kraken", [(-3, -2), (-1, 0)])):
        series_id = await store_series(api.engine, exchange=exchange, timeframe="1h")
        await store_ledger(api.engine, series_id, [tuple(midnight + day * DAY_MS for day in d) for d in verified_days])
    assert "No series yet." not in (await candlekeep("completeness")).err
    await recount_outdated(api.engine, lambda _: None)

    total = await candlekeep("completeness")
    assert (total.code, total.out.splitlines()[1].split()[:5]) == (0, ["2", "80.00", "%", "80.00", "%"])
    by_exchange = await candlekeep("completeness", "--by", "exchange", "--days", "5")
    assert [line.split()[0] for line in by_exchange.out.splitlines()] == ["EXCHANGE", "binance", "kraken"]
    assert [line[-5:] for line in by_exchange.out.splitlines()[1:]] == [" ██  ", " █▁█ "]
    as_json = await candlekeep("completeness", "--by", "series", "--exchange", "kraken", "--days", "5", "--json")
    [row] = json.loads(as_json.out)
    assert (row["symbol"], [each["verified_periods"] for each in row["days"]]) == ("BTC/USDT", [24, 0, 24])
    assert (await candlekeep("completeness", "--days", "5", "--start", "2026-01-01")).code == 2
    assert "No series matches" in (await candlekeep("completeness", "--exchange", "okx")).err
    assert "No series matches" in (await candlekeep("completeness", "--by", "series", "--exchange", "okx")).err


async def test_it_starts_as_a_module_and_refuses_an_unknown_option() -> None:
    """The other tests fork the command from a process that has imported it."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "command_line", "--ours", stderr=asyncio.subprocess.PIPE
    )
    _, err = await process.communicate()
    assert (process.returncode, b"No such option" in err) == (2, True), err


async def test_settings_are_read_from_a_file(candlekeep: Candlekeep, tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(f'token = "{TOKEN}"\n')
    assert (await candlekeep("--settings", str(file), "stats", CANDLEKEEP_TOKEN="")).code == 0


async def test_shell_completion_is_available(candlekeep: Candlekeep) -> None:
    # Otherwise typer prints the script for the shell that started the tests.
    named_shell = {"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    script = await candlekeep("--show-completion", "bash", **named_shell)
    assert "_COMPLETE=complete_bash" in script.out, script.err


async def test_configs_are_exported_to_a_file_and_applied_from_it(candlekeep: Candlekeep, tmp_path: Path) -> None:
    file = tmp_path / "configs.yaml"
    await candlekeep(*ADD)
    assert (await candlekeep("configs", "export", "-o", str(file))).code == 0
    again = await candlekeep("configs", "apply", str(file), "--yes")
    assert (again.code, again.out) == (0, "")
    assert "Nothing to do" in again.err
    changed = file.read_text().replace("interval_minutes: 5", "interval_minutes: 15")
    file.write_text(f"{changed}- exchange: kraken\n  symbol: BTC/USD\n  timeframes: [1h]\n")
    shown = await candlekeep("configs", "apply", str(file), "--dry-run")
    assert [line.strip() for line in shown.out.splitlines()] == [
        "+ kraken BTC/USD 1h",
        "~ binance BTC/USDT 1m,1h",
        "interval_minutes: 5 -> 15",
    ]
    declined = await candlekeep("configs", "apply", str(file), typed="n\n")
    assert declined.code == 1
    assert len(json.loads((await candlekeep("configs", "list", "--json")).out)) == 1
    applied = await candlekeep("configs", "apply", str(file), "--yes", "--json")
    assert json.loads(applied.out)["summary"]["added"] == 1
    assert (await candlekeep("configs", "apply", "-", "--yes", typed=file.read_text())).code == 0


async def test_deleting_most_configs_needs_a_confirmation(candlekeep: Candlekeep, tmp_path: Path) -> None:
    await candlekeep(*ADD)
    file = tmp_path / "empty.yaml"
    file.write_text("version: 1\nconfigs: []\n")
    refused = await candlekeep("configs", "apply", str(file), "--remove", "--yes")
    assert refused.code == 1
    assert "confirm" in refused.err.lower()
    asked = await candlekeep("configs", "apply", str(file), "--remove", typed="y\n")
    assert (asked.code, asked.out.strip()) == (0, "- binance BTC/USDT 1m,1h")
    assert json.loads((await candlekeep("configs", "list", "--json")).out) == []


async def test_a_missing_or_invalid_file_is_reported(candlekeep: Candlekeep, tmp_path: Path) -> None:
    missing = await candlekeep("configs", "apply", str(tmp_path / "missing.yaml"))
    assert (missing.code, "cannot be read" in missing.err) == (2, True)
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("version: 1\nconfigs:\n- exchange: binance\n  symbl: BTC/USDT\n")
    assert (await candlekeep("configs", "apply", str(wrong))).code == 1


async def test_exchanges_are_listed_and_one_is_shown_with_its_requests(candlekeep: Candlekeep) -> None:
    listed = await candlekeep("exchanges", "--json")
    assert {"binance", "kraken"} <= {row["id"] for row in json.loads(listed.out)}
    table = await candlekeep("exchanges")
    assert "Kraken" in table.out
    shown = await candlekeep("exchanges", "bitbank")
    assert "day_file" in shown.out
    assert "yearly files" in shown.out
    kraken = await candlekeep("exchanges", "kraken")
    assert "newest 720 candles" in kraken.err
    assert (await candlekeep("exchanges", "krakn")).code == 1


async def test_the_start_date_of_a_config_is_set_changed_and_removed(candlekeep: Candlekeep) -> None:
    added = await candlekeep(*ADD, "--start-date", "2024-01-15", "--json")
    config = json.loads(added.out)
    assert config["start_date"] == "2024-01-15"
    assert "2024-01-15" in (await candlekeep("configs", "list")).out
    change = ("configs", "set", str(config["id"]), "--json", "--start-date")
    assert json.loads((await candlekeep(*change, "listing")).out)["start_date"] == "listing"
    assert json.loads((await candlekeep(*change, "")).out)["start_date"] is None


async def test_a_backfill_is_estimated_created_listed_changed_and_awaited(
    candlekeep: Candlekeep, api: AdminApi
) -> None:
    await candlekeep(*ADD)
    wanted = ("backfills", "create", "--exchange", "binance", "--timeframes", "1m", "--start", "2026-01-01")
    until = ("--end", "2026-01-11")
    estimated = await candlekeep(*wanted, *until, "--dry-run")
    assert estimated.code == 0, estimated.err
    assert "at most 14400" in estimated.out
    assert "at most 15" in estimated.out
    assert (await candlekeep("backfills", "list")).out == ""
    made = await candlekeep(*wanted, *until, "--json")
    assert (made.code, json.loads(made.out)["series"]) == (0, 1)
    assert "2026-01-11" in (await candlekeep("backfills", "list")).out
    paused = await candlekeep("backfills", "pause", "1", "--if-version", "1")
    assert (paused.code, paused.err.strip()) == (0, "Backfill 1 is paused.")
    assert (await candlekeep("backfills", "resume", "1", "--if-version", "1")).code == 1
    assert (await candlekeep("backfills", "resume", "1")).code == 0
    late = await candlekeep("backfills", "show", "1", "--wait", "--timeout", "1")
    assert (late.code, "not whole within 1 s" in late.err) == (5, True)
    start, end = (to_milliseconds(datetime(2026, 1, day, tzinfo=UTC)) for day in (1, 11))
    await store_ledger(api.engine, await store_series(api.engine, start, end - 60_000), [(start, end)])
    whole = await candlekeep("backfills", "show", "1", "--wait", "--json")
    assert (whole.code, json.loads(whole.out)["progress"]["is_whole"]) == (0, True)
    assert "100%" in whole.err
    assert "cancelled" in (await candlekeep("backfills", "cancel", "1")).err
    assert (await candlekeep("backfills", "resume", "1")).code == 1


async def test_a_backfill_of_a_lost_range_says_so_and_needs_a_selection(candlekeep: Candlekeep) -> None:
    await candlekeep("configs", "add", "kraken", "BTC/USD", "--timeframes", "1m")
    estimated = await candlekeep("backfills", "create", "--symbol", "*", "--start", "2026-01-01", "--dry-run")
    assert "beyond_horizon" in estimated.out
    assert "only the newest 720 candles" in estimated.out
    assert (await candlekeep("backfills", "create", "--start", "2026-01-01")).code == 2
