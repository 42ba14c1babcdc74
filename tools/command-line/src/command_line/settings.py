"""The address of the API and the token. Options come first, then the environment, then a file."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from command_line.failures import BadSettings

URL_VARIABLE: Final = "CANDLEKEEP_URL"
TOKEN_VARIABLE: Final = "CANDLEKEEP_TOKEN"  # noqa: S105 -- the name of a variable
FILE_VARIABLE: Final = "CANDLEKEEP_SETTINGS"
DEFAULT_URL: Final = "http://127.0.0.1:8000"
_KNOWN: Final = frozenset({"url", "token"})


@dataclass(frozen=True)
class Settings:
    url: str
    token: str = field(repr=False)


def load(
    environment: Mapping[str, str], *, url: str | None = None, token: str | None = None, file: Path | None = None
) -> Settings:
    """The settings to use. Raises `BadSettings`, also if a file was named and does not exist."""
    named = file or (Path(environment[FILE_VARIABLE]) if environment.get(FILE_VARIABLE) else None)
    path = named or default_file(environment)
    stored = _read(path) if named or path.is_file() else {}
    chosen_url = url or environment.get(URL_VARIABLE) or stored.get("url") or DEFAULT_URL
    chosen_token = token or environment.get(TOKEN_VARIABLE) or stored.get("token")
    if urlsplit(chosen_url).scheme not in {"http", "https"}:
        raise BadSettings(f"{chosen_url!r} is not an address of the API: it must begin with http:// or https://")
    if not chosen_token:
        raise BadSettings(
            f'There is no token. Set {TOKEN_VARIABLE}, or write `token = "..."` into {path}. An administrator creates '
            "one with `python -m admin_api tokens create`; `make demo` prints one."
        )
    return Settings(url=chosen_url.rstrip("/"), token=chosen_token)


def default_file(environment: Mapping[str, str]) -> Path:
    home = Path(environment.get("XDG_CONFIG_HOME") or Path(environment.get("HOME", "~")) / ".config")
    return home.expanduser() / "candlekeep" / "settings.toml"


def _read(file: Path) -> dict[str, str]:
    try:
        content: dict[str, Any] = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise BadSettings(f"{file} cannot be read: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise BadSettings(f'{file} is not TOML ({error}); write lines such as url = "http://127.0.0.1:8000"') from error
    if unknown := sorted(content.keys() - _KNOWN):
        raise BadSettings(f"{file} has settings that do not exist: {', '.join(unknown)}; only url and token exist")
    if wrong := sorted(name for name, value in content.items() if not isinstance(value, str)):
        raise BadSettings(f"{file}: put {' and '.join(wrong)} in quotes")
    return content
