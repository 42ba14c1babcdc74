import pytest

from collector.settings import CollectorSettings
from runtime.settings import load_settings


@pytest.fixture(autouse=True)
def _kafka(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:9092")


def test_base_urls_can_be_set_per_exchange(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXCHANGE_URL_OVERRIDES", '{"binance": "http://127.0.0.1:9900/"}')
    assert load_settings(CollectorSettings).exchange_url_overrides == {"binance": "http://127.0.0.1:9900"}


@pytest.mark.parametrize(
    "value",
    [
        "127.0.0.1:9900",
        '{"binance": "127.0.0.1:9900"}',
        '{"BIN ANCE": "http://x"}',
        '["http://x"]',
        '{"binanc": "http://x"}',
    ],
)
def test_an_invalid_override_gives_one_line_with_the_name_of_the_variable(
    value: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("EXCHANGE_URL_OVERRIDES", value)
    with pytest.raises(SystemExit) as caught:
        load_settings(CollectorSettings)
    assert caught.value.code == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("EXCHANGE_URL_OVERRIDES")
