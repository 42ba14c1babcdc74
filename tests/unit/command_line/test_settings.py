from pathlib import Path

import pytest

from command_line.failures import BadSettings
from command_line.settings import Settings, load


def a_file(folder: Path, text: str) -> Path:
    file = folder / "settings.toml"
    file.write_text(text)
    return file


def test_options_override_the_environment_and_the_environment_overrides_the_file(tmp_path: Path) -> None:
    file = a_file(tmp_path, 'url = "https://file"\ntoken = "of-the-file"')
    environment = {"CANDLEKEEP_URL": "https://environment", "CANDLEKEEP_TOKEN": "of-the-environment"}
    assert load({}, file=file) == Settings("https://file", "of-the-file")
    assert load(environment, file=file) == Settings("https://environment", "of-the-environment")
    assert load(environment, url="https://option/", token="of-the-option") == Settings(
        "https://option", "of-the-option"
    )


def test_the_default_file_is_optional(tmp_path: Path) -> None:
    environment = {"XDG_CONFIG_HOME": str(tmp_path)}
    with pytest.raises(BadSettings, match="There is no token"):
        load(environment)
    (tmp_path / "candlekeep").mkdir()
    a_file(tmp_path / "candlekeep", 'token = "kept"')
    assert load(environment) == Settings("http://127.0.0.1:8000", "kept")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("token = unquoted", "is not TOML"),
        ('toke = "x"', "do not exist: toke"),
        ("token = 5", "put token in quotes"),
    ],
)
def test_the_error_names_an_invalid_file_and_the_reason(tmp_path: Path, text: str, message: str) -> None:
    file = a_file(tmp_path, text)
    with pytest.raises(BadSettings, match=message) as caught:
        load({"CANDLEKEEP_SETTINGS": str(file)})
    assert str(file) in str(caught.value)


def test_a_named_file_must_exist(tmp_path: Path) -> None:
    with pytest.raises(BadSettings, match="cannot be read"):
        load({"CANDLEKEEP_TOKEN": "x"}, file=tmp_path / "missing.toml")


def test_an_address_without_a_scheme_is_refused() -> None:
    with pytest.raises(BadSettings, match="must begin with http"):
        load({"CANDLEKEEP_TOKEN": "x", "CANDLEKEEP_URL": "localhost:8000"})


def test_the_token_is_not_in_the_representation() -> None:
    assert "secret" not in repr(Settings("http://here", "secret"))
