"""The TLS settings of the connection to Postgres. They are added to DATABASE_URL as libpq's parameters, which the
engine reads.
"""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from runtime.connections.tls import FileNames, TlsFiles, client_context, file_problems

_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
_CHECKED = ("verify-ca", "verify-full")
_ENCRYPTED = ("require", *_CHECKED)
_SETTINGS = {
    "sslmode": "database_ssl_mode",
    "sslrootcert": "database_ssl_ca_file",
    "sslcert": "database_ssl_certificate_file",
    "sslkey": "database_ssl_key_file",
    "sslpassword": "database_ssl_key_password",
}
"""The setting for each parameter of libpq."""


class DatabaseTlsSettings(BaseSettings):
    """The TLS settings of the connection to Postgres, with the client's certificate."""

    model_config: ClassVar[SettingsConfigDict] = SettingsConfigDict(
        frozen=True, extra="ignore", hide_input_in_errors=True
    )

    database_ssl_mode: Literal["", "disable", "allow", "prefer", "require", "verify-ca", "verify-full"] = Field(
        default="",
        description="TLS to Postgres, like sslmode of DATABASE_URL. Use verify-full outside of a trusted network: it "
        "checks the server's certificate and host name. The mode require only encrypts, unless "
        "DATABASE_SSL_CA_FILE is set. If empty, the mode is prefer.",
    )
    database_ssl_ca_file: str = Field(
        default="",
        description="File with the certificates (PEM) of the authorities that sign the certificate of Postgres, like "
        "sslrootcert. If empty, those of the operating system are trusted.",
    )
    database_ssl_certificate_file: str = Field(
        default="",
        description="File with the client's certificate (PEM), like sslcert. A renewed file is used for the next "
        "connection.",
    )
    database_ssl_key_file: str = Field(
        default="", description="File with the key (PEM) of DATABASE_SSL_CERTIFICATE_FILE, like sslkey."
    )
    database_ssl_key_password: SecretStr = Field(
        default=SecretStr(""), description="Password of the client's key, if it is encrypted."
    )


@dataclass(frozen=True)
class DatabaseTls:
    """The TLS configuration for one Postgres address. `mode` is empty if the address does not set it."""

    mode: str
    files: TlsFiles

    def argument(self) -> ssl.SSLContext | str | None:
        """The value for asyncpg's argument `ssl`. None selects asyncpg's default."""
        if self.mode not in _ENCRYPTED:
            return self.mode or None
        # As in libpq, `require` checks the certificate if the file of an authority is given.
        checks = self.mode in _CHECKED or bool(self.files.ca)
        return client_context(self.files, check_certificate=checks, check_host=self.mode == "verify-full")


def with_tls(url: str, values: Mapping[str, object]) -> str:
    """The URL with a parameter for each TLS setting that has a value. Raises `ValueError` if the URL already contains
    one of these parameters, or if the parameters cannot be used.
    """
    parts = urlsplit(url)
    pairs = parse_qsl(parts.query, keep_blank_values=True)
    query, added = dict(pairs), {}
    for parameter, setting in _SETTINGS.items():
        value = values.get(setting) or ""
        text = value.get_secret_value() if isinstance(value, SecretStr) else str(value)
        if not text:
            continue
        if parameter in query:
            raise ValueError(f"contains {parameter}, and {setting.upper()} is set, too. Remove one of them")
        added[parameter] = text
    _check(query | added, _names(query))
    return urlunsplit(parts._replace(query=urlencode([*pairs, *added.items()]))) if added else url


def _names(query: Mapping[str, str]) -> dict[str, str]:
    """The name of each parameter for error messages: the parameter if the URL contains it, otherwise the setting."""
    return {
        parameter: f"{parameter} in DATABASE_URL" if parameter in query else setting.upper()
        for parameter, setting in _SETTINGS.items()
    }


def _check(query: Mapping[str, str], names: Mapping[str, str]) -> None:
    mode = query.get("sslmode", "")
    if mode and mode not in _MODES:
        raise ValueError(f"contains sslmode={mode}, which is not one of {', '.join(_MODES)}")
    if mode not in _ENCRYPTED:
        for parameter in _SETTINGS:
            if parameter != "sslmode" and query.get(parameter):
                raise ValueError(
                    f"has the mode {mode or 'prefer'}, which may connect without TLS, but {names[parameter]} is set. "
                    "Set DATABASE_SSL_MODE to verify-full"
                )
    elif problems := file_problems(tls_of(query).files, _file_names(names)):
        raise ValueError("; ".join(problems))


def _file_names(names: Mapping[str, str]) -> FileNames:
    return FileNames(names["sslrootcert"], names["sslcert"], names["sslkey"], names["sslpassword"])


def tls_of(query: Mapping[str, str]) -> DatabaseTls:
    """From the parameters of a URL. `sslrootcert=system` is libpq's name for the authorities of the system."""
    ca = query.get("sslrootcert", "")
    return DatabaseTls(
        mode=query.get("sslmode", ""),
        files=TlsFiles(
            ca="" if ca == "system" else ca,
            certificate=query.get("sslcert", ""),
            key=query.get("sslkey", ""),
            key_password=query.get("sslpassword", ""),
        ),
    )


PARAMETERS = tuple(_SETTINGS)
