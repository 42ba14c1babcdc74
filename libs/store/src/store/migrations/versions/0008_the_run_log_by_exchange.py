"""The run log, counted by the hour and exchange

As in migration 0003, triggers record changes and log-writer adds them to hourly counts. Here they are by exchange, and
only for runs that have a duration. They have separate tables, because the exchange as another key of run_hours would
multiply the rows that statistics read. docs/decisions/0009 has the reasons.

Revision ID: 0008
Revises: 0007
"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

COUNTS = """
      SELECT date_bin('1 hour', started_at, 'epoch'), job_type, exchange, sum(sign),
        sum(sign * run_microseconds(duration_seconds)), sum(sign * records_collected::bigint)
      FROM ({moves}) AS moves
      WHERE duration_seconds IS NOT NULL
      GROUP BY 1, 2, 3
"""

NOTE = """
    CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
      INSERT INTO run_exchange_changes (hour, job_type, exchange, runs, duration_microseconds, records)
      {counts}
      HAVING (sum(sign), sum(sign * run_microseconds(duration_seconds)), sum(sign * records_collected::bigint))
        <> (0, 0, 0);
      RETURN NULL;
    END $$
"""

# Does nothing if another session is already adding up the changes: settle_run_hours takes the same lock. Deletes rows
# whose count is zero.
SETTLE = """
    CREATE FUNCTION settle_run_changes() RETURNS bigint LANGUAGE plpgsql AS $$
    DECLARE touched timestamptz[];
    BEGIN
      IF NOT pg_try_advisory_xact_lock(7226501136) THEN RETURN 0; END IF;
      WITH changes AS (DELETE FROM run_exchange_changes RETURNING *),
        hours AS (
          INSERT INTO run_exchange_hours AS known (hour, job_type, exchange, runs, duration_microseconds, records)
          SELECT hour, job_type, exchange, sum(runs), sum(duration_microseconds), sum(records)
          FROM changes GROUP BY 1, 2, 3
          ON CONFLICT (hour, job_type, exchange) DO UPDATE SET
            runs = known.runs + excluded.runs,
            duration_microseconds = known.duration_microseconds + excluded.duration_microseconds,
            records = known.records + excluded.records
        )
      SELECT array_agg(DISTINCT hour) INTO touched FROM changes;
      DELETE FROM run_exchange_hours WHERE hour = ANY(touched) AND runs = 0;
      RETURN settle_run_hours();
    END $$
"""

RECOUNT = """
    CREATE FUNCTION recount_runs() RETURNS void LANGUAGE plpgsql AS $$
    BEGIN
      PERFORM recount_run_hours(); -- takes the locks
      DELETE FROM run_exchange_changes;
      DELETE FROM run_exchange_hours;
      {fill};
    END $$
"""

FORGET = """
    CREATE FUNCTION forget_exchange_runs() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
      PERFORM pg_advisory_xact_lock(7226501136);
      TRUNCATE run_exchange_hours, run_exchange_changes;
      RETURN NULL;
    END $$
"""

ALL = "SELECT 1 AS sign, * FROM job_execution_logs"
FILL = "INSERT INTO run_exchange_hours (hour, job_type, exchange, runs, duration_microseconds, records)" + COUNTS.format(
    moves=ALL
)
NOTES = (
    ("note_added_exchange_runs", "INSERT", "NEW TABLE AS after", "SELECT 1 AS sign, * FROM after"),
    (
        "note_changed_exchange_runs",
        "UPDATE",
        "OLD TABLE AS before NEW TABLE AS after",
        "SELECT -1 AS sign, * FROM before UNION ALL SELECT 1, * FROM after",
    ),
    ("note_removed_exchange_runs", "DELETE", "OLD TABLE AS before", "SELECT -1 AS sign, * FROM before"),
)


def upgrade() -> None:
    _make_tables()
    for name, _, _, moves in NOTES:
        op.execute(NOTE.format(name=name, counts=COUNTS.format(moves=moves)))
    op.execute("ALTER FUNCTION settle_run_changes() RENAME TO settle_run_hours")
    op.execute("ALTER FUNCTION recount_runs() RENAME TO recount_run_hours")
    op.execute(SETTLE)
    op.execute(RECOUNT.format(fill=FILL))
    op.execute(FORGET)
    # From here on, writers of the log wait until the existing runs are counted. Readers do not wait.
    op.execute("LOCK TABLE job_execution_logs IN SHARE ROW EXCLUSIVE MODE")
    for name, event, tables, _ in NOTES:
        op.execute(
            f"CREATE TRIGGER {name} AFTER {event} ON job_execution_logs REFERENCING {tables} "
            f"FOR EACH STATEMENT EXECUTE FUNCTION {name}()"
        )
    op.execute(
        "CREATE TRIGGER forget_exchange_runs AFTER TRUNCATE ON job_execution_logs "
        "FOR EACH STATEMENT EXECUTE FUNCTION forget_exchange_runs()"
    )
    op.execute(FILL)


def _make_tables() -> None:
    op.create_table(
        "run_exchange_hours",
        sa.Column(
            "hour", sa.TIMESTAMP(timezone=True), nullable=False, comment="The UTC hour in which the runs started."
        ),
        sa.Column("job_type", sa.Text(), nullable=False),
        sa.Column("exchange", sa.Text(), nullable=False),
        sa.Column("runs", sa.BigInteger(), nullable=False),
        sa.Column("duration_microseconds", sa.BigInteger(), nullable=False),
        sa.Column("records", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("hour", "job_type", "exchange", name=op.f("pk_run_exchange_hours")),
        comment="The runs that have a duration, counted by the hour and exchange, except what run_exchange_changes "
        "holds. Written by log-writer.",
    )
    op.create_table(
        "run_exchange_changes",
        sa.Column("hour", sa.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("job_type", sa.Text(), nullable=False),
        sa.Column("exchange", sa.Text(), nullable=False),
        sa.Column("runs", sa.BigInteger(), nullable=False, comment="How many more; below zero: fewer."),
        sa.Column("duration_microseconds", sa.BigInteger(), nullable=False),
        sa.Column("records", sa.BigInteger(), nullable=False),
        comment="Changes that are not added to run_exchange_hours yet. Written by log-writer in the transaction that moves a "
        "run's state.",
    )
    # These tables get the same storage parameters as in migration 0003, because their rows change often.
    op.execute("ALTER TABLE run_exchange_hours SET (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05)")
    op.execute(
        "ALTER TABLE run_exchange_changes SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000)"
    )


def downgrade() -> None:
    for name in ("forget_exchange_runs", *(name for name, *_ in NOTES)):
        op.execute(f"DROP TRIGGER {name} ON job_execution_logs")
        op.execute(f"DROP FUNCTION {name}()")
    for function, original in (("settle_run_changes", "settle_run_hours"), ("recount_runs", "recount_run_hours")):
        op.execute(f"DROP FUNCTION {function}()")
        op.execute(f"ALTER FUNCTION {original}() RENAME TO {function}")
    op.drop_table("run_exchange_changes")
    op.drop_table("run_exchange_hours")
