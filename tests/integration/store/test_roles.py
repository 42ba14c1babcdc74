"""Each service has its own database role, which may do only what the service needs."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest
import sqlalchemy as sa
from sqlalchemy.engine import make_url

from local_stack.database_logins import NAMES, DatabaseLogins
from local_stack.keeper import KeptPostgres
from store.grants import LOGINS, rights_of, writer_of
from store.migrate import upgrade
from store.role_setup import set_up_roles
from store.roles import RolesNotPossible, role_name
from store.scram import verifier
from store.statistics_tables import metadata
from support.databases import connected
from support.later_release import a_later_release
from support.shared_services import SharedServices, create_database, database_at, drop_database

pytestmark = pytest.mark.postgres

PASSWORD = "a password of a test"
SERVICES = [name for name in NAMES if name != "migrations"]
"""All logins that do not act as the owner."""
TABLES = sorted(metadata.tables)
TABLES_OF_TOKENS = {"api_tokens", "sessions", "audit_log"}

CHANGES_OF_THE_AUDIT_LOG = (
    "UPDATE audit_log SET actor = 'someone else'",
    "UPDATE audit_log SET id = id WHERE false",
    "DELETE FROM audit_log",
    "SET candlekeep.trim_audit_log = 'on'; DELETE FROM audit_log",
    "TRUNCATE audit_log",
    "INSERT INTO audit_log SELECT * FROM audit_log ON CONFLICT (id) DO UPDATE SET actor = 'someone else'",
    "ALTER TABLE audit_log DISABLE TRIGGER ALL",
    "ALTER TABLE audit_log DISABLE TRIGGER audit_log_is_append_only",
    "ALTER TABLE audit_log RENAME TO other",
    "ALTER TABLE audit_log OWNER TO CURRENT_USER",
    "DROP TRIGGER audit_log_is_append_only ON audit_log",
    "DROP TABLE audit_log",
    "DROP FUNCTION audit_log_is_append_only() CASCADE",
    "DROP SCHEMA public CASCADE",
    "CREATE OR REPLACE FUNCTION audit_log_is_append_only() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN END'",
    "CREATE RULE quiet AS ON INSERT TO audit_log DO INSTEAD NOTHING",
    "CREATE TRIGGER quiet BEFORE DELETE ON audit_log EXECUTE FUNCTION suppress_redundant_updates_trigger()",
    "SET session_replication_role = replica",
)
PROGRAMS_AND_FILES = (
    "COPY (SELECT 1) TO PROGRAM 'true'",
    "CREATE TEMP TABLE lines (line text); COPY lines FROM PROGRAM 'id'",
    "COPY (SELECT 1) TO '/tmp/candlekeep-test'",
    "CREATE TEMP TABLE lines (line text); COPY lines FROM '/etc/passwd'",
    "SELECT pg_read_file('/etc/passwd')",
    "SELECT pg_read_binary_file('/etc/passwd')",
    "SELECT pg_ls_dir('/')",
    "SELECT lo_import('/etc/passwd')",
    "SELECT lo_export(0, '/tmp/candlekeep-test')",
    "CREATE FUNCTION run() RETURNS void LANGUAGE c AS 'libc.so.6', 'abort'",
    "LOAD '/tmp/library.so'",
    "SELECT pg_reload_conf()",
    "SELECT rolpassword FROM pg_authid",
    "CREATE ROLE mine",
    "ALTER ROLE CURRENT_USER CREATEROLE",
)
MORE_RIGHTS = (
    "CREATE TABLE mine ()",
    "CREATE SCHEMA mine",
    "GRANT pg_execute_server_program TO CURRENT_USER",
    "SET ROLE {owner}",
    "GRANT {owner} TO CURRENT_USER",
    "ALTER DEFAULT PRIVILEGES FOR ROLE {owner} GRANT ALL ON TABLES TO PUBLIC",
    "REASSIGN OWNED BY {owner} TO CURRENT_USER",
)


@pytest.fixture
def logins(template_database: str) -> DatabaseLogins:
    """The logins that also the systems of the end-to-end tests use."""
    return SharedServices.of_this_run().database_logins()


@pytest.fixture
async def prefix(postgres: KeptPostgres) -> AsyncIterator[str]:
    """A prefix for the roles of one test. Roles can be dropped only after their tables, so ask for this first."""
    made = f"role_{uuid.uuid4().hex[:8]}"
    yield made
    async with connected(postgres.url) as connection:
        for name in (*NAMES, "owner", "administrator"):
            await connection.execute(f"DROP ROLE IF EXISTS {role_name(made, name)}")


async def is_refused(connection: asyncpg.Connection, statement: str) -> bool:
    """Whether the right is missing. Another error is a defect of the statement."""
    transaction = connection.transaction()
    await transaction.start()
    try:
        await connection.execute(statement)
    except asyncpg.InsufficientPrivilegeError:
        return True
    except asyncpg.PostgresError as error:
        raise AssertionError(f"{statement}: {error!r}") from error
    finally:
        await transaction.rollback()
    return False


@pytest.mark.parametrize("name", SERVICES)
async def test_no_service_can_change_the_audit_log_run_programs_or_gain_rights(
    database_url: str, logins: DatabaseLogins, name: str
) -> None:
    owner = role_name(logins.prefix, "owner")
    attempts = [*CHANGES_OF_THE_AUDIT_LOG, *PROGRAMS_AND_FILES, *(each.format(owner=owner) for each in MORE_RIGHTS)]
    async with connected(database_url) as superuser, connected(logins.url(database_url, name)) as connection:
        await superuser.execute(
            "INSERT INTO audit_log (at, actor_kind, actor, request_id, action, object_type, outcome)"
            " VALUES (now(), 'token', 'ann', 'r', 'config.create', 'config', 'done')"
        )
        allowed = [each for each in attempts if not await is_refused(connection, each)]
        assert allowed == []
        # The trigger refuses changes, too. The rights alone must be enough.
        rights = await rights_in(superuser, role_name(logins.prefix, name))
        assert {right for table, right in rights if table == "audit_log"} <= {"SELECT", "INSERT"}
        assert await superuser.fetchval("SELECT count(*) FROM audit_log WHERE actor = 'ann'") == 1


@pytest.mark.parametrize("name", SERVICES)
async def test_no_service_can_write_the_tables_of_another(database_url: str, logins: DatabaseLogins, name: str) -> None:
    allowed = TABLES_OF_TOKENS if name == "tokens" else {each for each in TABLES if writes(name, each)}
    async with connected(database_url) as superuser, connected(logins.url(database_url, name)) as connection:
        for table in (*TABLES, "alembic_version"):
            column = await superuser.fetchval(
                "SELECT quote_ident(attname) FROM pg_attribute WHERE attrelid = $1::text::regclass AND attnum > 0"
                " AND attgenerated = '' AND attidentity = '' LIMIT 1",
                table,
            )
            changes = (
                f"INSERT INTO {table} DEFAULT VALUES",
                f"UPDATE {table} SET {column} = DEFAULT WHERE false",
                f"DELETE FROM {table} WHERE false",
            )
            if table not in allowed:
                assert [each for each in changes if not await is_refused(connection, each)] == []
            assert await is_refused(connection, f"TRUNCATE {table} CASCADE")


def writes(name: str, table: str) -> bool:
    return writer_of(metadata.tables[table]) == name


async def test_the_login_of_migrations_runs_no_programs_and_the_trigger_stops_it(
    database_url: str, logins: DatabaseLogins
) -> None:
    changes = ("UPDATE audit_log SET actor = 'someone else'", "DELETE FROM audit_log", "TRUNCATE audit_log")
    async with connected(logins.url(database_url, "migrations")) as connection:
        attempts = [*changes, *PROGRAMS_AND_FILES, "SET session_replication_role = replica"]
        assert [each for each in attempts if not await is_refused(connection, each)] == []


async def test_the_trigger_of_the_audit_log_fires_in_a_session_of_a_replica(database_url: str) -> None:
    async with connected(database_url, session_replication_role="replica") as superuser:
        for change in ("UPDATE audit_log SET actor = 'someone else'", "DELETE FROM audit_log", "TRUNCATE audit_log"):
            assert await is_refused(superuser, change), change


async def rights_in(connection: asyncpg.Connection, role: str) -> set[tuple[str, str]]:
    """(table, right) for every right of a role on a table or on one of its columns."""
    rows = await connection.fetch(
        """
        SELECT relname, kind FROM pg_class,
          unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'REFERENCES', 'TRIGGER']) AS kind
        WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'v') AND CASE
          WHEN kind IN ('DELETE', 'TRUNCATE', 'TRIGGER') THEN has_table_privilege($1, oid, kind)
          ELSE has_any_column_privilege($1, oid, kind) END
        """,
        role,
    )
    return {(row["relname"], row["kind"]) for row in rows}


async def test_a_role_has_exactly_the_declared_rights(database_url: str, logins: DatabaseLogins) -> None:
    async with connected(database_url) as superuser:
        for login in LOGINS:
            if not login.owns:
                declared = {(table, right.split()[0]) for table, rights in rights_of(login).items() for right in rights}
                assert await rights_in(superuser, role_name(logins.prefix, login.name)) == declared


async def test_only_admin_api_reads_the_hashes_of_tokens_and_the_reader_reads_no_credential(
    database_url: str, logins: DatabaseLogins
) -> None:
    query = "SELECT has_column_privilege($1, 'api_tokens', 'secret_hash', 'SELECT')"
    async with connected(database_url) as superuser:
        readers = [name for name in SERVICES if await superuser.fetchval(query, role_name(logins.prefix, name))]
        of_reader = {table for table, _ in await rights_in(superuser, role_name(logins.prefix, "reader"))}
    assert readers == ["admin-api"]
    assert not of_reader & {"api_tokens", "sessions", "audit_log", "idempotency_keys", "outbox"}


def test_every_table_has_a_writer_with_a_role_and_a_command_writes_only_tables_of_its_service() -> None:
    assert {writer_of(table) for table in metadata.tables.values()} <= {login.name for login in LOGINS}
    for login in LOGINS:
        assert {writer_of(metadata.tables[table]) for table in login.acts} <= {login.acts_for}, login.name


@pytest.mark.parametrize("comment", [None, "The configs.", "Written by no service."])
def test_a_table_without_a_writer_is_refused(comment: str | None) -> None:
    table = sa.Table("later", sa.MetaData(), sa.Column("id", sa.Integer), comment=comment)
    with pytest.raises(ValueError, match=r'table later names no service.*"Written by <service>\."'):
        writer_of(table)


OWNERS = """
    SELECT relowner::regrole::text FROM pg_class WHERE relnamespace = 'public'::regnamespace
      AND relkind IN ('r', 'v', 'S')
    UNION SELECT proowner::regrole::text FROM pg_proc WHERE pronamespace = 'public'::regnamespace
"""


async def owners_in(connection: asyncpg.Connection) -> list[str]:
    """The owners of all tables, views, sequences and functions."""
    return [row[0] for row in await connection.fetch(OWNERS)]


@pytest.fixture
async def old_database(prefix: str, database_url: str) -> str:
    """A database that its superuser made, as before there were roles, with a config in it."""
    async with connected(database_url) as connection:
        await connection.execute(
            "DROP SCHEMA public CASCADE; CREATE SCHEMA public; GRANT CREATE ON SCHEMA public TO PUBLIC"
        )
        await upgrade(database_url, role_prefix=prefix)
        await connection.execute(
            "INSERT INTO data_collection_configs (symbol, exchange, timeframes, interval_minutes, enabled)"
            " VALUES ('BTC/USDT', 'binance', ARRAY['1m'], 5, true)"
        )
    return database_url


async def test_a_database_of_a_superuser_is_handed_over_while_it_is_used(prefix: str, old_database: str) -> None:
    services = DatabaseLogins(prefix=prefix, passwords=dict.fromkeys(NAMES, PASSWORD))
    async with connected(old_database) as superuser:
        assert len(await owners_in(superuser)) == 1
        report = superuser.transaction()
        await report.start()
        await superuser.fetch("SELECT FROM candles")
        working = asyncio.create_task(set_up_roles(old_database, prefix, services.passwords))
        await asyncio.wait([working], timeout=2)
        assert not working.done(), "the table was handed over although a transaction uses it"
        await report.commit()
        done = await working
        assert done.granted
        assert done.handed_over > len(TABLES)
        assert await owners_in(superuser) == [role_name(prefix, "owner")]
    async with connected(services.url(old_database, "admin-api")) as api:
        assert await api.fetchval("UPDATE data_collection_configs SET version = 2 RETURNING symbol") == "BTC/USDT"
    assert await set_up_roles(old_database, prefix, {}) == (0, True)


async def test_an_administrator_without_superuser_can_make_the_roles(prefix: str, postgres: KeptPostgres) -> None:
    name, administrator = f"test_{uuid.uuid4().hex[:12]}", role_name(prefix, "administrator")
    services = DatabaseLogins(prefix=prefix, passwords=dict.fromkeys(NAMES, PASSWORD))
    await create_database(postgres.url, name)
    url = database_at(postgres.url, name)
    as_administrator = (
        make_url(url).set(username=administrator, password=PASSWORD).render_as_string(hide_password=False)
    )
    try:
        async with connected(postgres.url) as superuser:
            await superuser.execute(f"CREATE ROLE {administrator} LOGIN CREATEROLE PASSWORD '{PASSWORD}'")
            await superuser.execute(f'ALTER DATABASE "{name}" OWNER TO {administrator}')
        assert await set_up_roles(as_administrator, prefix, services.passwords) == (0, False)
        await upgrade(services.url(url, "migrations"), role_prefix=prefix)
        assert await set_up_roles(as_administrator, prefix, services.passwords) == (0, True)
        async with connected(url) as connection:
            assert await owners_in(connection) == [role_name(prefix, "owner")]
        async with connected(services.url(url, "candle-writer")) as writer:
            await writer.execute(
                "INSERT INTO series (exchange, symbol, timeframe) VALUES ('binance', 'BTC/USDT', '1m')"
            )
            assert await is_refused(writer, "DELETE FROM series")
    finally:
        await drop_database(postgres.url, name)


async def test_rights_that_someone_added_are_taken_away(prefix: str, old_database: str) -> None:
    log_writer = role_name(prefix, "log-writer")
    await set_up_roles(old_database, prefix, {})
    async with connected(old_database) as superuser:
        before = await rights_in(superuser, log_writer)
        await superuser.execute("CREATE TABLE of_someone_else (); GRANT SELECT ON of_someone_else TO PUBLIC")
        await superuser.execute(f"ALTER TABLE of_someone_else OWNER TO {role_name(prefix, 'migrations')}")
        await superuser.execute(f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {log_writer}")
        await superuser.execute(f"GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO {log_writer}")
        await superuser.execute("GRANT UPDATE (actor), DELETE ON audit_log TO PUBLIC")
        assert await rights_in(superuser, log_writer) != before
        await set_up_roles(old_database, prefix, {})
        left = await rights_in(superuser, log_writer)
        assert {right for right in left if right[0] != "of_someone_else"} == before
        sequence = "SELECT has_sequence_privilege($1, 'series_id_seq', 'USAGE, UPDATE, SELECT')"
        assert not await superuser.fetchval(sequence, log_writer)


@pytest.mark.parametrize(
    ("power", "named"),
    [
        ("ALTER ROLE {role} SUPERUSER", "SUPERUSER"),
        ("ALTER ROLE {role} CREATEROLE", "CREATEROLE"),
        ("GRANT pg_write_all_data TO {role}", "pg_write_all_data"),
        ("GRANT {owner} TO {role}", "_owner"),
    ],
)
async def test_an_existing_role_with_more_rights_is_refused(
    prefix: str, old_database: str, power: str, named: str
) -> None:
    role, owner = role_name(prefix, "log-writer"), role_name(prefix, "owner")
    await set_up_roles(old_database, prefix, {})
    async with connected(old_database) as superuser:
        await superuser.execute(power.format(role=role, owner=owner))
        with pytest.raises(RolesNotPossible, match=rf"{role} exists and has more rights .*{named}"):
            await set_up_roles(old_database, prefix, {})


@pytest.mark.parametrize("login", ["migrations", None])
async def test_a_table_of_a_later_release_belongs_to_the_owner_also_if_a_superuser_upgrades(
    prefix: str, old_database: str, tmp_path: Path, login: str | None
) -> None:
    services = DatabaseLogins(prefix=prefix, passwords=dict.fromkeys(NAMES, PASSWORD))
    await set_up_roles(old_database, prefix, services.passwords)
    config = a_later_release(tmp_path / "versions", 'op.create_table("later", sa.Column("id", sa.Integer()))')
    url = old_database if login is None else services.url(old_database, login)
    await upgrade(url, config=config, role_prefix=prefix)
    async with connected(old_database) as superuser:
        assert await owners_in(superuser) == [role_name(prefix, "owner")]


async def test_the_verifier_of_a_password_is_that_of_postgres(prefix: str, postgres: KeptPostgres) -> None:
    role = role_name(prefix, "administrator")
    async with connected(postgres.url) as superuser:
        await superuser.execute(f"SET password_encryption = 'scram-sha-256'; CREATE ROLE {role} PASSWORD '{PASSWORD}'")
        stored = await superuser.fetchval("SELECT rolpassword FROM pg_authid WHERE rolname = $1", role)
        salt = await superuser.fetchval("SELECT decode(split_part(split_part($1, ':', 2), '$', 1), 'base64')", stored)
    assert verifier(PASSWORD, salt) == stored
    assert verifier(PASSWORD) != stored
