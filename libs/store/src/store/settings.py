"""The settings of `python -m store`."""

from typing import Annotated

from pydantic import AfterValidator, Field, SecretStr

from runtime.settings import DatabaseSettings

_MIN_PASSWORD_LENGTH = 16


def _password(value: SecretStr | None) -> SecretStr | None:
    if value is None or not value.get_secret_value():
        return None
    text = value.get_secret_value()
    if len(text) < _MIN_PASSWORD_LENGTH or not text.isascii() or not text.isprintable():
        raise ValueError(f"must have at least {_MIN_PASSWORD_LENGTH} printable ASCII characters")
    return value


Password = Annotated[SecretStr | None, AfterValidator(_password)]


class StoreSettings(DatabaseSettings):
    """The settings of the commands. The command `roles` reads the passwords. It does not change a password that is not
    set.
    """

    database_role_prefix: str = Field(
        default="candlekeep",
        pattern=r"^[a-z][a-z0-9_]{0,39}$",
        description="Prefix of the names of the database roles. Set it if several systems share a server of Postgres.",
    )
    migrations_database_password: Password = Field(
        default=None,
        description="Password of the database role for `python -m store upgrade`. `python -m store roles` sets it; if "
        "empty, the password is not changed.",
    )
    admin_api_database_password: Password = Field(
        default=None, description="Password of the database role of admin-api, as above."
    )
    log_writer_database_password: Password = Field(
        default=None, description="Password of the database role of log-writer, as above."
    )
    candle_writer_database_password: Password = Field(
        default=None, description="Password of the database role of candle-writer, as above."
    )
    backfiller_database_password: Password = Field(
        default=None, description="Password of the database role of backfiller, as above."
    )
    tokens_database_password: Password = Field(
        default=None, description="Password of the database role for `python -m admin_api tokens`, as above."
    )
    reader_database_password: Password = Field(
        default=None, description="Password of the database role for people and dashboards that only read, as above."
    )

    def passwords(self) -> dict[str, str]:
        """The passwords that are set, by the name of the login in `store.grants`."""
        return {
            name.removesuffix("_database_password").replace("_", "-"): value.get_secret_value()
            for name, value in self
            if name.endswith("_database_password") and value is not None
        }
