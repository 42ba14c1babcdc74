"""The logins of the services at Postgres: each has its own role, which `python -m store roles` makes."""

from collections.abc import Mapping
from dataclasses import dataclass

from store.grants import LOGINS
from store.roles import DEFAULT_PREFIX, login_url

NAMES = tuple(login.name for login in LOGINS)
READER = "reader"


@dataclass(frozen=True, kw_only=True)
class DatabaseLogins:
    """`passwords` are by the name of the login. `prefix` is that of the roles."""

    passwords: Mapping[str, str]
    prefix: str = DEFAULT_PREFIX

    def url(self, database_url: str, name: str) -> str:
        """The URL of the same database for this login."""
        return login_url(database_url, self.prefix, name, self.passwords[name])

    def environment(self) -> dict[str, str]:
        """The variables of `python -m store roles`."""
        variables = {f"{name.replace('-', '_').upper()}_DATABASE_PASSWORD": self.passwords[name] for name in NAMES}
        return {"DATABASE_ROLE_PREFIX": self.prefix, **variables}
