"""Sets up the roles of one database: creates them, makes the owner role the owner of the tables, and sets the
rights.
"""

from collections.abc import Mapping
from typing import NamedTuple

from store.migrate import head_revision, schema_connection
from store.roles import grant_rights, hand_over, make_roles
from store.schema import current_revision


class RoleSetup(NamedTuple):
    handed_over: int
    """The number of tables, views and functions that got the owner role as their owner."""
    granted: bool
    """Whether the rights were set. False if the schema does not have the version of this release; then the next upgrade
    sets them.
    """


async def set_up_roles(database_url: str, prefix: str, passwords: Mapping[str, str]) -> RoleSetup:
    """Create the roles. The user of `database_url` needs the right to create roles. `passwords` maps logins to
    passwords; the passwords of other logins are not changed.

    The rights are set only if the schema has the version of this release. Otherwise services of the previous release
    may be running, and would lose the rights that they have. Raises `RolesNotPossible` and `DBAPIError`.
    """
    async with schema_connection(database_url, "store-roles") as connection:
        await make_roles(connection, prefix, passwords)
        handed_over = await hand_over(connection, prefix)
        is_current = await connection.run_sync(current_revision) == head_revision()
        if is_current:
            await grant_rights(connection, prefix, exactly=True)
        await connection.commit()
        return RoleSetup(handed_over, is_current)
