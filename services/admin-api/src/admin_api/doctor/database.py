"""Checks a Postgres server: its address, schema, clock, roles, encryption, outbox and size."""

from datetime import UTC, datetime

import sqlalchemy as sa
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncConnection

from admin_api.doctor.judging import clock_check, encryption_check, outbox_check, roles_check
from admin_api.doctor.results import Check, failed, ok, warning
from admin_api.doctor.space import database_size_check
from admin_api.writes.transactions import DATABASE_PROBLEMS
from runtime.database import build_engine
from runtime.settings import DatabaseSettings
from store.grants import LOGINS
from store.migrate import head_revision
from store.roles import DEFAULT_PREFIX, role_name
from store.schema import SchemaOutOfDate, ensure_current

_ROLES = sa.text(
    "SELECT rolname, rolsuper OR rolcreaterole OR rolcreatedb AS powers FROM pg_roles WHERE rolname = ANY(:names)"
)
_OUTBOX = sa.text("SELECT count(*), min(created_at) FROM outbox")
_SIZE = sa.text(
    "SELECT pg_database_size(current_database()) AS size, pg_total_relation_size('candles') AS candle_bytes,"
    " (SELECT coalesce(sum(candle_count), 0)::bigint FROM series) AS candles,"
    " (SELECT coalesce(sum(records), 0)::bigint FROM run_hours WHERE hour > now() - interval '1 day') AS records"
)


async def database_checks(settings: DatabaseSettings, prefix: str = DEFAULT_PREFIX) -> list[Check]:
    """The checks of the database. If the address does not answer, the result is only this one problem."""
    engine = build_engine(settings, application_name="admin-api-doctor")
    host = make_url(settings.database_url.get_secret_value()).host or ""
    try:
        async with engine.connect() as connection:
            checks = await _server_checks(connection, host, prefix)
        try:
            await ensure_current(engine)
            checks.append(ok("schema", f"at revision {head_revision()} or newer"))
        except SchemaOutOfDate as error:
            checks.append(failed("schema", str(error), "Run `python -m store upgrade` as candlekeep_migrations."))
            return checks
        async with engine.connect() as connection:
            checks += await _content_checks(connection)
    except (*DATABASE_PROBLEMS, OSError) as error:
        return [
            failed(
                "Postgres",
                f"{host} does not answer: {str(error.__cause__ or error).splitlines()[0]}",
                "Check DATABASE_URL, the password file, the network, and the log of Postgres.",
            )
        ]
    finally:
        await engine.dispose()
    return checks


async def _server_checks(connection: AsyncConnection, host: str, prefix: str) -> list[Check]:
    before = datetime.now(UTC)
    theirs = await connection.scalar(sa.text("SELECT clock_timestamp()"))
    after = datetime.now(UTC)
    version = await connection.scalar(sa.text("SHOW server_version"))
    encrypted = await connection.scalar(sa.text("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"))
    names = [role_name(prefix, login.name) for login in LOGINS]
    rows = (await connection.execute(_ROLES, {"names": names})).all()
    return [
        ok("Postgres", f"{host} answers, version {version}"),
        encryption_check("Postgres", host, encrypted=bool(encrypted)),
        clock_check("Postgres", theirs, before, after),
        roles_check({row.rolname: row.powers for row in rows}, names),
    ]


async def _content_checks(connection: AsyncConnection) -> list[Check]:
    allowed = await connection.scalar(
        sa.text("SELECT bool_and(has_table_privilege(name, 'SELECT')) FROM unnest(CAST(:names AS text[])) AS name"),
        {"names": ["outbox", "series", "run_hours"]},
    )
    if not allowed:
        return [warning("outbox", "this role may not read it", "Use the DATABASE_URL of admin-api.")]
    rows, oldest = (await connection.execute(_OUTBOX)).one()
    sizes = (await connection.execute(_SIZE)).one()
    return [
        outbox_check(rows, oldest, datetime.now(UTC)),
        database_size_check(sizes.size, sizes.candles, sizes.candle_bytes, sizes.records),
    ]
