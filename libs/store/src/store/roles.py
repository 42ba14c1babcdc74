"""Creates the database roles, and gives them the tables and the rights of `store.grants`.

It needs no superuser: the user must own the database, or have the rights of its owner, and have CREATEROLE.
"""

import asyncio
from collections.abc import Mapping
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from runtime.logs import log
from store.grants import LOGINS, VERSION_TABLE, grants
from store.scram import verifier

DEFAULT_PREFIX: Final = "candlekeep"
TABLE_IN_USE: Final = ("55P03", "40P01")
"""The error codes lock_not_available and deadlock_detected: another session uses a table that is to be changed."""

_EXISTS_ALREADY: Final = ("42710", "23505")
"""Error codes if a role exists already. Roles belong to the whole server, so a command for another database may create
the same role at the same time.
"""
_RETRIES: Final = 300
_PAUSE_SECONDS: Final = 2.0

_POWERS: Final = sa.text("""
    SELECT rolname,
      array_remove(ARRAY[CASE WHEN rolsuper THEN 'SUPERUSER' END, CASE WHEN rolcreaterole THEN 'CREATEROLE' END,
        CASE WHEN rolcreatedb THEN 'CREATEDB' END, CASE WHEN rolreplication THEN 'REPLICATION' END,
        CASE WHEN rolbypassrls THEN 'BYPASSRLS' END], NULL) AS attributes,
      ARRAY(SELECT roleid::regrole::text FROM pg_auth_members WHERE member = role.oid) AS memberships
    FROM pg_roles AS role WHERE rolname = ANY(:names)
""")

# Sequences of identity columns follow their table, and objects of an extension belong to it.
_FOREIGN_OBJECTS: Final = sa.text("""
    WITH previous AS (
      SELECT relowner AS owner FROM pg_class WHERE oid = to_regclass(:version_table)
      UNION SELECT oid FROM pg_roles WHERE rolname = current_user
      EXCEPT SELECT oid FROM pg_roles WHERE rolname = :owner
    ), objects AS (
      SELECT 'pg_class'::regclass AS catalog, oid, relowner AS owner, 'TABLE ' || oid::regclass AS object
      FROM pg_class WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'p', 'v', 'm', 'S')
      UNION ALL
      SELECT 'pg_proc'::regclass, oid, proowner, 'ROUTINE ' || oid::regprocedure
      FROM pg_proc WHERE pronamespace = current_schema()::regnamespace
    )
    SELECT object FROM objects WHERE owner IN (SELECT owner FROM previous) AND NOT EXISTS (
      SELECT FROM pg_depend WHERE classid = catalog AND objid = objects.oid AND deptype IN ('a', 'i', 'e'))
    ORDER BY object
""")

_OWNED_OBJECTS: Final = sa.text("""
    SELECT CASE relkind WHEN 'S' THEN 'SEQUENCE ' ELSE 'TABLE ' END || oid::regclass FROM pg_class
    WHERE relowner = to_regrole(:owner) AND relnamespace = current_schema()::regnamespace
      AND relkind IN ('r', 'p', 'v', 'm', 'S')
    ORDER BY oid
""")

_MAY_BECOME_OWNER: Final = sa.text("""
    SELECT pg_has_role(current_user, owner.oid, 'MEMBER')
      AND has_schema_privilege(owner.oid, current_schema(), 'CREATE')
      AND coalesce((SELECT relowner = owner.oid FROM pg_class WHERE oid = to_regclass(:version_table)), true)
    FROM pg_roles AS owner WHERE rolname = :owner
""")


class RolesNotPossible(Exception):  # noqa: N818 -- the name states the problem
    """The roles cannot be made safely. The message says what to do."""


def role_name(prefix: str, name: str) -> str:
    """The name of a role in Postgres. `name` is that of a login, or `owner`."""
    return f"{prefix}_{name.replace('-', '_')}"


def login_url(database_url: str, prefix: str, name: str, password: str | None) -> str:
    """The URL of the same database with the name and the password of a login.

    If `password` is None, the URL contains no password.
    """
    url = make_url(database_url).set(username=role_name(prefix, name), password=password)
    return url.render_as_string(hide_password=False)


async def become_owner(connection: AsyncConnection, prefix: str) -> bool:
    """Continue as the owner role, so that it owns all that this session creates. False if there are no roles yet."""
    owner = role_name(prefix, "owner")
    possible = await connection.scalar(_MAY_BECOME_OWNER, {"owner": owner, "version_table": VERSION_TABLE})
    if possible:
        await connection.exec_driver_sql(f"SET ROLE {owner}")
    await connection.commit()
    return bool(possible)


async def grant_rights(connection: AsyncConnection, prefix: str, *, exactly: bool = False) -> None:
    """Grant each login its rights, in the open transaction. `exactly`: revoke all other rights first."""
    if exactly:
        roles = ", ".join(["PUBLIC", *(role_name(prefix, login.name) for login in LOGINS)])
        owned = await connection.scalars(_OWNED_OBJECTS, {"owner": role_name(prefix, "owner")})
        for each in owned.all():
            await connection.exec_driver_sql(f"REVOKE ALL ON {each} FROM {roles}")
    for login in LOGINS:
        for statement in grants(login, role_name(prefix, login.name)):
            await connection.exec_driver_sql(statement)


async def make_roles(connection: AsyncConnection, prefix: str, passwords: Mapping[str, str]) -> None:
    """Create the roles that are missing, set the passwords (by login), and give the owner its schema.

    Raises `RolesNotPossible` if an existing role may do more than it should.
    """
    owner = role_name(prefix, "owner")
    await _create(connection, owner, "NOLOGIN")
    for login in LOGINS:
        await _create(connection, role_name(prefix, login.name), "LOGIN")
    await _require_no_powers(connection, prefix)
    for login in LOGINS:
        if password := passwords.get(login.name):
            # Only the verifier is sent, so that no log of the server contains the password.
            role = role_name(prefix, login.name)
            await connection.exec_driver_sql(f"ALTER ROLE {role} PASSWORD '{verifier(password)}'")
    if not await connection.scalar(sa.text("SELECT pg_has_role(current_user, :owner, 'USAGE')"), {"owner": owner}):
        await connection.exec_driver_sql(f"GRANT {owner} TO CURRENT_USER")
    await _give_schema(connection, prefix)
    await connection.commit()


async def hand_over(connection: AsyncConnection, prefix: str) -> int:
    """Make the owner role the owner of the tables, views and functions that existed before it. Returns their number.

    Only objects that belong to the user of this connection, or to the user that created the tables, get the new owner.
    Each one is committed by itself. If a table is in use, the statement is repeated for up to ten minutes.
    """
    owner = role_name(prefix, "owner")
    found = await connection.scalars(_FOREIGN_OBJECTS, {"owner": owner, "version_table": VERSION_TABLE})
    objects = found.all()
    await connection.commit()
    for each in objects:
        await _when_free(connection, f"ALTER {each} OWNER TO {owner}")
    return len(objects)


async def _create(connection: AsyncConnection, role: str, kind: str) -> None:
    if await connection.scalar(sa.text("SELECT true FROM pg_roles WHERE rolname = :role"), {"role": role}):
        return
    try:
        async with connection.begin_nested():
            await connection.exec_driver_sql(f"CREATE ROLE {role} {kind}")
    except DBAPIError as error:
        if _sqlstate(error) not in _EXISTS_ALREADY:
            raise


async def _require_no_powers(connection: AsyncConnection, prefix: str) -> None:
    """Raises `RolesNotPossible` if a role has one of these attributes. With it, the role could read files, run
    programs, or make itself the owner.
    """
    owner = role_name(prefix, "owner")
    allowed = {role_name(prefix, login.name): {owner} if login.owns else set() for login in LOGINS} | {owner: set()}
    for role in await connection.execute(_POWERS, {"names": list(allowed)}):
        if surplus := [*role.attributes, *sorted(set(role.memberships) - allowed[role.rolname])]:
            raise RolesNotPossible(
                f"the role {role.rolname} exists and has more rights than it may have: {', '.join(surplus)}. Take them "
                "away, or set another DATABASE_ROLE_PREFIX."
            )


async def _give_schema(connection: AsyncConnection, prefix: str) -> None:
    owner, schema = role_name(prefix, "owner"), await _schema(connection)
    database = await connection.scalar(sa.text("SELECT quote_ident(current_database())"))
    logins = [role_name(prefix, login.name) for login in LOGINS]
    temporary = [role_name(prefix, login.name) for login in LOGINS if login.makes_temporary_tables]
    for statement in (
        *(f"GRANT {owner} TO {role_name(prefix, login.name)}" for login in LOGINS if login.owns),
        f"GRANT CONNECT ON DATABASE {database} TO {', '.join(logins)}",
        f"GRANT TEMPORARY ON DATABASE {database} TO {', '.join(temporary)}",
        f"GRANT USAGE ON SCHEMA {schema} TO {', '.join(logins)}",
        f"GRANT USAGE, CREATE ON SCHEMA {schema} TO {owner}",
        f"REVOKE CREATE ON SCHEMA {schema} FROM PUBLIC",
    ):
        await connection.exec_driver_sql(statement)
    for login in LOGINS:
        await _require_schema_rights(connection, role_name(prefix, login.name), schema, may_create=login.owns)


async def _require_schema_rights(connection: AsyncConnection, role: str, schema: str, *, may_create: bool) -> None:
    """Raises `RolesNotPossible` if GRANT or REVOKE had no effect. If the user does not own the schema, Postgres only
    sends a warning.
    """
    query = sa.text("SELECT has_schema_privilege(:role, current_schema(), 'CREATE')")
    if await connection.scalar(query, {"role": role}) != may_create:
        statement = f"GRANT CREATE ON SCHEMA {schema} TO {role}"
        statement = statement if may_create else f"REVOKE CREATE ON SCHEMA {schema} FROM PUBLIC"
        raise RolesNotPossible(
            f"this user cannot change the rights of the schema. Run `{statement}` as the owner of the schema, then run "
            "this command again."
        )


async def _when_free(connection: AsyncConnection, statement: str) -> None:
    for attempt in range(_RETRIES + 1):
        try:
            await connection.exec_driver_sql(statement)
            await connection.commit()
            return
        except DBAPIError as error:
            await connection.rollback()
            if _sqlstate(error) not in TABLE_IN_USE or attempt == _RETRIES:
                raise
            log.warning(
                "A table is in use; its change of owner is retried", action="hand_over_waits", error=str(error.orig)
            )
        await asyncio.sleep(_PAUSE_SECONDS)


async def _schema(connection: AsyncConnection) -> str:
    return str(await connection.scalar(sa.text("SELECT quote_ident(current_schema())")))


def _sqlstate(error: DBAPIError) -> Any:
    return getattr(error.orig, "sqlstate", None)
