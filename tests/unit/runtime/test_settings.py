import json
from pathlib import Path

import pytest
from pydantic import Field, SecretStr
from sqlalchemy.engine import make_url

from runtime.settings import (
    AllowedExchangesSettings,
    DatabaseSettings,
    KafkaSettings,
    WorkerSettings,
    list_settings,
    load_settings,
)


class Example(WorkerSettings, DatabaseSettings):
    lanes: dict[str, int] = Field(default={}, description="Lanes per exchange, as JSON.")
    token: SecretStr = Field(min_length=8, description="A secret.")


GOOD = {"KAFKA_BOOTSTRAP_SERVERS": "a:9092, b:9092", "DATABASE_URL": "postgresql://u:p@h/d", "TOKEN": "long enough"}


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name, value in GOOD.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


def error_lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    with pytest.raises(SystemExit) as exit_:
        load_settings(Example)
    assert exit_.value.code == 2
    return capsys.readouterr().err.splitlines()


def test_valid_values_are_loaded(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("LANES", json.dumps({"binance": 2}))
    settings = load_settings(Example)
    assert settings.kafka_bootstrap_servers == "a:9092,b:9092"
    assert settings.lanes == {"binance": 2}


def test_each_missing_variable_is_named_in_one_line(
    environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in GOOD:
        environment.delenv(name)
    lines = error_lines(capsys)
    assert {line.split()[0] for line in lines} == set(GOOD)
    assert len(lines) == len(GOOD)
    assert all("is not set" in line for line in lines)


@pytest.mark.parametrize(
    ("variable", "value", "expected"),
    [
        ("HTTP_PORT", "eighty", "HTTP_PORT is not valid"),
        ("HTTP_PORT", "70000", "less than or equal to 65535"),
        ("LOG_FORMAT", "xml", "LOG_FORMAT is not valid"),
        ("KAFKA_BOOTSTRAP_SERVERS", "kafka", "'kafka' is not host:port"),
        ("KAFKA_BOOTSTRAP_SERVERS", ",", "at least one host:port"),
        ("DATABASE_URL", "mysql://root:hunter2@h/d", "must begin with postgresql://"),
        ("LANES", "two", "LANES is not valid JSON"),
        ("LANES", '{"binance": "many"}', "LANES[binance] is not valid"),
        ("TOKEN", "hunter2", "TOKEN is not valid"),
    ],
)
def test_a_bad_value_is_explained_in_one_line_without_secrets(
    environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], variable: str, value: str, expected: str
) -> None:
    environment.setenv(variable, value)
    (line,) = error_lines(capsys)
    assert line.startswith(variable)
    assert expected in line
    assert "hunter2" not in line


@pytest.mark.parametrize(
    "url",
    [
        "postgres://h/d",
        "postgresql://u:p@h:5432/d",
        "postgresql+asyncpg://u@/d?host=/tmp/socket",
        "postgresql://u@/d?host=/tmp/socket",
    ],
)
def test_usual_postgres_urls_are_accepted_and_never_printed(url: str) -> None:
    settings = DatabaseSettings(database_url=url)
    assert settings.database_url.get_secret_value() == url
    assert url not in repr(settings)


def test_every_setting_is_described_for_the_example_file() -> None:
    settings = {each.variable: each for each in list_settings(Example)}
    assert all(each.description for each in settings.values())
    assert settings["HTTP_PORT"].default == "8000"
    assert settings["KAFKA_BOOTSTRAP_SERVERS"].default is None
    assert settings["DATABASE_URL"].secret
    assert settings["TOKEN"].secret
    assert not settings["LOG_LEVEL"].secret


def test_settings_are_immutable() -> None:
    settings = KafkaSettings(kafka_bootstrap_servers="a:1")
    with pytest.raises(ValueError, match="frozen"):
        settings.kafka_topic_prefix = "other"


@pytest.mark.parametrize(
    ("text", "allowed"),
    [("", set()), (" , ", set()), ("kraken", {"kraken"}), ("binance, kraken,binance", {"binance", "kraken"})],
)
def test_allowed_exchanges_are_a_list_and_empty_means_all(text: str, allowed: set[str]) -> None:
    assert AllowedExchangesSettings(exchanges_allowed=text).allowed_exchanges == allowed


@pytest.mark.parametrize(("text", "hint"), [("binance,krakn", "did you mean kraken"), ("q", "use ccxt's ids")])
def test_an_unknown_exchange_in_the_list_is_an_error(
    text: str, hint: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("EXCHANGES_ALLOWED", text)
    with pytest.raises(SystemExit):
        load_settings(AllowedExchangesSettings)
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("EXCHANGES_ALLOWED is not valid: ")
    assert hint in line


def test_a_secret_is_read_from_a_file_without_the_line_break_at_its_end(
    environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "token").write_text("from the file \r\n")
    environment.delenv("TOKEN")
    environment.setenv("TOKEN_FILE", str(tmp_path / "token"))
    assert load_settings(Example).token.get_secret_value() == "from the file "


@pytest.mark.parametrize(
    ("content", "expected"),
    [(None, "(No such file or directory)"), (b"\n", "is empty"), (b"\xff\xfe", "is not text in UTF-8")],
)
def test_a_file_without_a_secret_is_explained_in_one_line(
    environment: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    content: bytes | None,
    expected: str,
) -> None:
    if content is not None:
        (tmp_path / "token").write_bytes(content)
    environment.delenv("TOKEN")
    environment.setenv("TOKEN_FILE", str(tmp_path / "token"))
    (line,) = error_lines(capsys)
    assert line.startswith("TOKEN_FILE is not valid: ")
    assert expected in line


def test_a_secret_must_not_come_from_a_variable_and_a_file(
    environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    environment.setenv("TOKEN_FILE", str(tmp_path / "token"))
    assert error_lines(capsys) == ["TOKEN_FILE is not valid: TOKEN is set, too. Unset one of them"]


def test_only_secrets_are_read_from_files(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "level").write_text("DEBUG")
    environment.setenv("LOG_LEVEL_FILE", str(tmp_path / "level"))
    assert load_settings(Example).log_level == "INFO"


def test_the_password_is_added_to_the_url_of_the_database(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("DATABASE_URL", "postgresql://u@h:5432/d?sslmode=require")
    environment.setenv("DATABASE_PASSWORD", "p@ss:/wörd")
    url = make_url(load_settings(Example).database_url.get_secret_value())
    assert (url.username, url.password, url.host, url.port) == ("u", "p@ss:/wörd", "h", 5432)
    assert (url.database, url.query) == ("d", {"sslmode": "require"})


@pytest.mark.parametrize(
    ("url", "expected"),
    [("postgresql://u:hunter2@h/d", "has a password"), ("postgresql://h/d", "has no user for DATABASE_PASSWORD")],
)
def test_a_password_that_does_not_fit_the_url_is_refused(
    environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], url: str, expected: str
) -> None:
    environment.setenv("DATABASE_URL", url)
    environment.setenv("DATABASE_PASSWORD", "hunter2")
    (line,) = error_lines(capsys)
    assert line.startswith("DATABASE_URL is not valid")
    assert expected in line
    assert "hunter2" not in line
