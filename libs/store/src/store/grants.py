"""The rights of each database role: the tables that it reads, and the tables that it writes.

The comment of a table names the one service that writes it, and only the role of this service gets rights to write.
The only exception is a command that acts for a service (`acts_for`). It writes only the tables of that service.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

import sqlalchemy as sa

from store.statistics_tables import metadata

Rights = tuple[str, ...]
"""Rights as GRANT writes them, such as `SELECT` or `UPDATE (revoked_at)`."""

_READ: Final[Rights] = ("SELECT",)
_ALL_ROWS: Final[Rights] = ("SELECT", "INSERT", "UPDATE", "DELETE")

VERSION_TABLE: Final = "alembic_version"
"""The table with the version of the schema. All roles read it, because a service checks at its start that the schema is
current.
"""

VIEW: Final = "ohlcv"

_NARROWED: Final[Mapping[str, Rights]] = {
    "data_collection_configs": (
        "SELECT",
        "INSERT",
        "DELETE",
        (
            "UPDATE (symbol, exchange, timeframes, interval_minutes, start_date, enabled, description, version, "
            "updated_at)"
        ),
    ),
    "config_timeframes": ("SELECT", "INSERT", "DELETE"),
    "outbox": ("SELECT", "INSERT", "DELETE"),
    "api_tokens": ("SELECT", "INSERT", "UPDATE (last_used_at, revoked_at)"),
    "sessions": ("SELECT", "INSERT", "DELETE", "UPDATE (last_seen_at, revoked_at)"),
    "audit_log": ("SELECT", "INSERT"),
    "backfills": ("SELECT", "INSERT", "UPDATE (state, description, updated_at, version)"),
    "backfill_series": ("SELECT", "INSERT"),
    "run_changes": ("SELECT", "INSERT", "DELETE"),
    "run_exchange_changes": ("SELECT", "INSERT", "DELETE"),
    "series": ("SELECT", "INSERT", "UPDATE (candle_count, first_open, last_open)"),
    "candles": (
        "SELECT",
        "INSERT",
        "UPDATE (open, high, low, close, volume, fetched_at, trades, quote_volume, source)",
    ),
    "series_levels": ("SELECT", "INSERT", "DELETE", "UPDATE (starts_at, ends_at)"),
    "candle_levels": ("SELECT", "INSERT", "DELETE"),
    "stale_levels": ("SELECT", "DELETE"),
    "coverage": ("SELECT", "INSERT", "UPDATE (verified, updated_at, from_trades)"),
    "absences": ("SELECT", "INSERT", "DELETE"),
    "series_days": ("SELECT", "INSERT", "DELETE", "UPDATE (unverified, whole, answered)"),
    "series_counts": (
        "SELECT",
        "INSERT",
        "UPDATE (anchor, first_absence, answered_until, unverified, whole, answered, missing, listed_at)",
    ),
    "rejected_candles": (
        "SELECT",
        "INSERT",
        'UPDATE (reason, first_seen, last_seen, "times", run_id, run_ids)',
    ),
}
"""The rights of the writing service of a table, for tables on which it does not have all rights. A new table needs no
entry.
"""

_RUN_LOG: Final = (
    "job_execution_logs",
    "scheduled_jobs",
    "run_hours",
    "run_durations",
    "run_changes",
    "run_exchange_hours",
    "run_exchange_changes",
)
_MARKETS: Final = ("markets", "market_lists")
_CANDLES: Final = (
    "series",
    "candles",
    "coverage",
    "absences",
    "rejected_candles",
    "series_days",
    "series_counts",
)
_LEVELS: Final = ("series_levels", "candle_levels", "stale_levels")
_PLANS: Final = ("series_plans", "backfill_chunks", "backfill_progress", "lane_pauses")
_PUBLIC_COLUMNS: Final = "id, name, role, public_id, created_at, created_by, expires_at, last_used_at, revoked_at"


@dataclass(frozen=True, kw_only=True)
class Login:
    """A role that can log in. Its name in Postgres is the prefix and `name`, with underscores."""

    name: str
    reads: tuple[str, ...] = ()
    """The tables and views of other services that it reads."""
    acts_for: str | None = None
    """The service whose tables this command writes."""
    acts: Mapping[str, Rights] = field(default_factory=dict)
    """The rights of the command on these tables, by table."""
    owns: bool = False
    """Whether it is a member of the owner role, and so may do everything with the tables."""
    makes_temporary_tables: bool = False


LOGINS: Final = (
    Login(name="migrations", owns=True),
    Login(name="admin-api", reads=(*_RUN_LOG, *_MARKETS, *_CANDLES, *_LEVELS, *_PLANS)),
    Login(name="log-writer", reads=("series", "coverage", "absences"), makes_temporary_tables=True),
    Login(name="candle-writer", makes_temporary_tables=True),
    Login(
        name="backfiller",
        reads=("data_collection_configs", "config_timeframes", "backfills", "backfill_series", *_CANDLES),
    ),
    Login(
        name="tokens",
        acts_for="admin-api",
        acts={
            "api_tokens": (f"SELECT ({_PUBLIC_COLUMNS})", "INSERT", "UPDATE (revoked_at)"),
            "sessions": ("SELECT (token_id, revoked_at)", "UPDATE (revoked_at)"),
            "audit_log": ("SELECT (id)", "INSERT"),
        },
    ),
    Login(
        name="reader",
        reads=(
            "data_collection_configs",
            "config_timeframes",
            *_RUN_LOG,
            *_MARKETS,
            *_CANDLES,
            *_LEVELS,
            *_PLANS,
            VIEW,
        ),
    ),
)
"""The scheduler and the collector use no database. Metrics of the database are those of admin-api and log-writer.
`reader` is for people and dashboards; it reads no credentials and no audit log.
"""


def writer_of(table: sa.Table) -> str:
    """The service that the comment of the table names. Raises ValueError if it names none, or one without a role."""
    named = re.search(r"Written by ([a-z]+(?:-[a-z]+)*)", table.comment or "")
    if named is None or named.group(1) not in {login.name for login in LOGINS}:
        raise ValueError(
            f'the comment of table {table.name} names no service with a role: add "Written by <service>.", '
            "and the service to LOGINS if it is new"
        )
    return named.group(1)


def rights_of(login: Login) -> dict[str, Rights]:
    """The rights by table. Raises ValueError if a table has no writing service."""
    own = {
        table.name: _NARROWED.get(table.name, _ALL_ROWS)
        for table in metadata.sorted_tables
        if writer_of(table) == login.name
    }
    return {VERSION_TABLE: _READ, **dict.fromkeys(login.reads, _READ), **login.acts, **own}


def grants(login: Login, role: str) -> Iterator[str]:
    """The GRANT statements of a login. `role` is its quoted name in Postgres."""
    for table, rights in rights_of(login).items():
        yield f"GRANT {', '.join(rights)} ON {table} TO {role}"
