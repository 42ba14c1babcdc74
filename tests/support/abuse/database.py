"""Attacks with the database role of a service: changes of the audit log, programs, and tables of other services."""

import asyncpg

from support.abuse.attack import Counts, Target

_FOREIGN_TABLES = {
    "admin-api": ("job_execution_logs", "candles", "coverage"),
    "log-writer": ("data_collection_configs", "api_tokens", "candles"),
    "candle-writer": ("data_collection_configs", "api_tokens", "job_execution_logs"),
}
"""Tables that another service writes."""
_FORBIDDEN = (
    "UPDATE audit_log SET actor = 'forged'",
    "DELETE FROM audit_log",
    "TRUNCATE audit_log",
    "ALTER TABLE audit_log DISABLE TRIGGER ALL",
    "SET session_replication_role = replica",
    "COPY (SELECT 1) TO PROGRAM 'true'",
    "CREATE ROLE forged SUPERUSER",
)


async def sql_with_the_role_of_a_service(target: Target, counts: Counts) -> None:
    """Every statement runs in a transaction that is rolled back."""
    for service, url in target.databases.items():
        connection = await asyncpg.connect(url, timeout=10, command_timeout=10)
        try:
            for statement in (*_FORBIDDEN, *(f"DELETE FROM {table}" for table in _FOREIGN_TABLES.get(service, ()))):
                await _attempt(connection, counts, statement)
        finally:
            await connection.close()


async def _attempt(connection: asyncpg.Connection, counts: Counts, statement: str) -> None:
    counts.sent += 1
    transaction = connection.transaction()
    await transaction.start()
    try:
        await connection.execute("SET LOCAL lock_timeout = '100ms'")
        await connection.execute(statement)
    except asyncpg.PostgresError as error:
        counts.answers[type(error).__name__] += 1
    else:
        counts.answers[f"done: {' '.join(statement.split()[:3])}"] += 1
    finally:
        await transaction.rollback()
