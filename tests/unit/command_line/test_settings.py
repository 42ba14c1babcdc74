from pathlib import Path

import pytest

from command_line.failures import BadSettings
from command_line.settings import Settings, load


def a_file(folder: Path, text: str) -> Path:
    file = folder / "settings.toml"
    file.write_text(text)
    return file


def test_options_come_before_the_environment_and_that_before_the_file(tmp_path: Path) -> None:
    file = a_file(tmp_path, 'url = "https://file"\ntoken = "of-the-file"')
    environment = {"CANDLEKEEP_URL": "https://environment", "CANDLEKEEP_TOKEN": "of-the-environment"}
    assert load({}, file=file) == Settings("https://file", "of-the-file")
    assert load(environment, file=file) == Settings("https://environment", "of-the-environment")
    assert load(environment, url="https://option/", token="of-the-option") == Settings(
        "https://option", "of-the-option"
    )


def test_a_file_in_its_usual_place_is_found_and_needs_not_be_there(tmp_path: Path) -> None:
    environment = {"XDG_CONFIG_HOME": str(tmp_path)}
    with pytest.raises(BadSettings, match="There is no token"):
        load(environment)
    (tmp_path / "candlekeep").mkdir()
    a_file(tmp_path / "candlekeep", 'token = "kept"')
    assert load(environment) == Settings("http://127.0.0.1:8000", "kept")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("token = unquoted", "is not TOML"),
        ('toke = "x"', "do not exist: toke"),
        ("token = 5", "put token in quotes"),
    ],
)
def test_a_bad_file_is_named_with_what_is_wrong(tmp_path: Path, text: str, said: str) -> None:
    file = a_file(tmp_path, text)
    with pytest.raises(BadSettings, match=said) as caught:
        load({"CANDLEKEEP_SETTINGS": str(file)})
    assert str(file) in str(caught.value)


def test_a_file_that_was_named_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(BadSettings, match="cannot be read"):
        load({"CANDLEKEEP_TOKEN": "x"}, file=tmp_path / "nothing.toml")


def test_an_address_that_is_none_is_refused() -> None:
    with pytest.raises(BadSettings, match="begins with http"):
        load({"CANDLEKEEP_TOKEN": "x", "CANDLEKEEP_URL": "localhost:8000"})


def test_the_token_is_not_shown() -> None:
    assert "secret" not in repr(Settings("http://here", "secret"))
