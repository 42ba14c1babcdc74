from pathlib import Path

import pytest

from exchange_simulator.__main__ import main
from exchange_simulator.aggregate import Candle
from exchange_simulator.replay import HEADER, BadRecordingError, load
from exchange_simulator.settings import Replay
from exchange_simulator.timeframes import FRAMES, HOUR, MINUTE

START = 1_700_002_800_000
LATER = START + 10 * HOUR


def a_file(folder: Path, *rows: str, name: str = "a.csv", header: str = HEADER) -> Path:
    path = folder / name
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def a_replay(*paths: Path, timeframe: str = "1m") -> Replay:
    return Replay(exchange="binance", symbol="BTC/USDT", timeframe=timeframe, paths=paths)


def minute(number: int, prices: str = "10,12,9,11", volume: str = "1") -> str:
    return f"{START + number * MINUTE},{prices},{volume}"


def test_rows_are_replayed_with_their_gaps(tmp_path: Path) -> None:
    series = load(a_replay(a_file(tmp_path, minute(0), minute(1, "1.5,1.50,1.25,1.3", "0.001"), minute(5))), None)
    candles = series.candles(FRAMES["1m"], 0, LATER, LATER)
    assert [candle.open_ms for candle in candles] == [START, START + MINUTE, START + 5 * MINUTE]
    assert (series.price_decimals, series.volume_decimals) == (2, 3)
    assert candles[1] == Candle(START + MINUTE, 150, 150, 125, 130, 1)


def test_coarser_candles_aggregate_the_existing_rows(tmp_path: Path) -> None:
    rows = [minute(0, "10,12,9,11", "1.1"), minute(3, "20,25,19,21", "0.2"), minute(61)]
    series = load(a_replay(a_file(tmp_path, *rows)), None)
    hours = series.candles(FRAMES["1h"], 0, LATER, LATER)
    assert [(candle.open_ms, candle.high, candle.volume) for candle in hours] == [
        (START, 25, 13),
        (START + HOUR, 12, 10),
    ]


def test_several_files_are_one_series_and_shifted_together(tmp_path: Path) -> None:
    first, second = a_file(tmp_path, minute(0)), a_file(tmp_path, minute(2), name="b.csv")
    series = load(a_replay(first, second), START + HOUR + 59_999)
    opens = [candle.open_ms for candle in series.candles(FRAMES["1m"], 0, LATER, LATER)]
    assert opens == [START + HOUR, START + HOUR + 2 * MINUTE]


def test_an_open_row_contains_the_data_up_to_now(tmp_path: Path) -> None:
    series = load(a_replay(a_file(tmp_path, minute(0), minute(1, volume="4"))), None)
    now = START + MINUTE + 30_000
    assert series.candles(FRAMES["1m"], 0, LATER, now)[-1] == Candle(START + MINUTE, 10, 10, 10, 10, 2)
    assert series.candles(FRAMES["1h"], 0, LATER, now) == [Candle(START, 10, 12, 9, 10, 3)]


def test_a_recording_has_no_finer_candles(tmp_path: Path) -> None:
    series = load(a_replay(a_file(tmp_path, f"{START},1,1,1,1,1"), timeframe="1h"), None)
    assert series.candles(FRAMES["1m"], 0, LATER, LATER) == []
    assert len(series.candles(FRAMES["1d"], 0, LATER + 48 * HOUR, LATER + 48 * HOUR)) == 1


@pytest.mark.parametrize(
    ("rows", "line", "reason"),
    [
        ([f"{START},1,1,1,1"], 2, "5 fields"),
        ([f"{START},1,x,1,1,1"], 2, "must be a number"),
        ([f"{START},1,NaN,1,1,1"], 2, "finite"),
        ([f"{START},1,2,1,1,-1"], 2, "not negative"),
        ([f"{START},5,4,3,4,1"], 2, "low <= open"),
        ([f"{START + 1},1,1,1,1,1"], 2, "not the open"),
        ([minute(1), minute(1)], 3, "must ascend"),
        ([], 1, "no rows"),
    ],
)
def test_an_invalid_row_is_reported_with_file_line_and_reason(
    tmp_path: Path, rows: list[str], line: int, reason: str
) -> None:
    path = a_file(tmp_path, *rows)
    with pytest.raises(BadRecordingError, match=reason) as caught:
        load(a_replay(path), None)
    assert str(caught.value).startswith(f"{path}:{line}: ")


def test_a_wrong_header_and_a_missing_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadRecordingError, match="first line"):
        load(a_replay(a_file(tmp_path, minute(0), header="time,open")), None)
    with pytest.raises(BadRecordingError, match="cannot be read"):
        load(a_replay(tmp_path / "missing.csv"), None)


def test_the_program_reports_an_invalid_recording_in_one_line_and_exits_with_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = a_file(tmp_path, f"{START},1,1,1,1")
    assert main(["--port", "0", "--replay", f"binance:BTC/USDT:1m={path}"]) == 2
    assert capsys.readouterr().err == f"exchange-simulator: {path}:2: 5 fields instead of 6\n"


@pytest.mark.parametrize("text", ["nowhere:BTC/USDT:1m=a", "binance:BTC/USDT:7m=a", "binance:BTC:1m=a", "binance"])
def test_an_invalid_replay_argument_is_refused(text: str) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--replay", text])
    assert caught.value.code == 2
