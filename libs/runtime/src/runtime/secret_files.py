"""Secrets from files: `DATABASE_PASSWORD_FILE` names a file that contains the value of `DATABASE_PASSWORD`.

Docker and Kubernetes mount secrets as files. Unlike a variable, a file is not shown by `docker inspect`.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path

SUFFIX = "_FILE"


class SecretFileError(Exception):
    """A secret cannot be read. `variable` is the variable that names the file."""

    def __init__(self, variable: str, reason: str) -> None:
        super().__init__(f"{variable} is not valid: {reason}")


def read_secret_files(variables: Iterable[str], environment: Mapping[str, str]) -> dict[str, str]:
    """The values of the secret variables whose file is named in the environment. A line break at the end of a file is
    removed. Raises `SecretFileError` if a file cannot be used.
    """
    named = {variable: environment.get(variable + SUFFIX, "") for variable in variables}
    return {variable: _value(variable, path, environment) for variable, path in named.items() if path}


def _value(variable: str, path: str, environment: Mapping[str, str]) -> str:
    name = variable + SUFFIX
    if environment.get(variable):
        raise SecretFileError(name, f"{variable} is set, too. Unset one of them")
    try:
        value = Path(path).read_text(encoding="utf-8").rstrip("\r\n")
    except OSError as error:
        raise SecretFileError(name, f"cannot read {path} ({error.strerror})") from None
    except UnicodeDecodeError:
        raise SecretFileError(name, f"{path} is not text in UTF-8") from None
    if not value:
        raise SecretFileError(name, f"{path} is empty")
    return value
