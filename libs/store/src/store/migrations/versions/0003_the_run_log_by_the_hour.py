"""The run log, counted by the hour

Triggers keep the counts, whoever writes: a log-writer of the release before this one, an operator who deletes by hand.
docs/decisions/0009 says what else was weighed.

Revision ID: 0003
Revises: 0002
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

COUNT_HOURS = """
    INSERT INTO run_hours AS known
      (hour, job_type, status, error_class, runs, timed_runs, duration_microseconds, records)
    SELECT date_bin('1 hour', started_at, 'epoch'), job_type, status, coalesce(error_class, ''),
      sum(sign), sum(sign * num_nonnulls(duration_seconds)),
      sum(sign * coalesce(run_microseconds(duration_seconds), 0)), sum(sign * records_collected::bigint)
    FROM {rows}
    GROUP BY 1, 2, 3, 4
    HAVING (sum(sign), sum(sign * num_nonnulls(duration_seconds)),
      sum(sign * coalesce(run_microseconds(duration_seconds), 0)), sum(sign * records_collected::bigint))
      <> (0, 0, 0, 0)
    ON CONFLICT (hour, job_type, status, error_class) DO UPDATE SET
      runs = known.runs + excluded.runs,
      timed_runs = known.timed_runs + excluded.timed_runs,
      duration_microseconds = known.duration_microseconds + excluded.duration_microseconds,
      records = known.records + excluded.records;
"""

COUNT_DURATIONS = """
    INSERT INTO run_durations AS known (span, begins, job_type, bucket, runs)
    SELECT span, date_bin(width, started_at, 'epoch'), job_type,
      run_duration_bucket(run_microseconds(duration_seconds)), sum(sign)
    FROM {rows}, (VALUES ('hour', interval '1 hour'), ('day', interval '1 day')) AS spans (span, width)
    WHERE status IN ('success', 'failed') AND duration_seconds IS NOT NULL
    GROUP BY 1, 2, 3, 4
    HAVING sum(sign) <> 0
    ON CONFLICT (span, begins, job_type, bucket) DO UPDATE SET runs = known.runs + excluded.runs;
"""

# The counts of the current hour are everybody's. Whoever changes them waits here, once and with all run rows locked
# already, instead of row by row in an order that two triggers of one statement cannot keep: so nobody deadlocks.
COUNT = """
    CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
      IF EXISTS (SELECT FROM {changed}) THEN
        PERFORM pg_advisory_xact_lock(7226501136);
        {statements}
      END IF;
      RETURN NULL;
    END $$
"""

RECOUNT = """
    CREATE FUNCTION recount_runs() RETURNS void LANGUAGE plpgsql AS $$
    BEGIN
      LOCK TABLE job_execution_logs IN SHARE ROW EXCLUSIVE MODE;
      TRUNCATE run_hours, run_durations;
      {statements}
    END $$
"""

FORGET = """
    CREATE FUNCTION forget_runs() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
      TRUNCATE run_hours, run_durations;
      RETURN NULL;
    END $$
"""

# What an hour without runs left behind. Not after an update: there "running" comes to nothing again and again.
SWEEP = """
    DELETE FROM run_hours WHERE runs = 0 AND hour <= (SELECT max(started_at) FROM before);
    DELETE FROM run_durations WHERE runs = 0 AND begins <= (SELECT max(started_at) FROM before);
"""

ADDED = "(SELECT 1 AS sign, * FROM after) AS moves"
CHANGED = "(SELECT -1 AS sign, * FROM before UNION ALL SELECT 1, * FROM after) AS moves"
REMOVED = "(SELECT -1 AS sign, * FROM before) AS moves"
ALL = "(SELECT 1 AS sign, * FROM job_execution_logs) AS moves"


def upgrade() -> None:
    op.create_table(
        "run_hours",
        sa.Column(
            "hour", sa.TIMESTAMP(timezone=True), nullable=False, comment="The UTC hour in which the runs started."
        ),
        sa.Column("job_type", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("error_class", sa.Text(), nullable=False, comment="Empty: none."),
        sa.Column("runs", sa.BigInteger(), nullable=False),
        sa.Column("timed_runs", sa.BigInteger(), nullable=False, comment="Those that have a duration."),
        sa.Column(
            "duration_microseconds", sa.BigInteger(), nullable=False, comment="Their sum: exact, as no float is."
        ),
        sa.Column("records", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("hour", "job_type", "status", "error_class", name=op.f("pk_run_hours")),
        comment="The run log, counted by the hour. Written by log-writer in the transaction that moves a run's state.",
    )
    op.create_table(
        "run_durations",
        sa.Column("span", sa.Text(), nullable=False, comment="hour or day: a month is 30 days and some hours."),
        sa.Column("begins", sa.TIMESTAMP(timezone=True), nullable=False, comment="The UTC hour or day of the start."),
        sa.Column("job_type", sa.Text(), nullable=False),
        sa.Column(
            "bucket",
            sa.Integer(),
            nullable=False,
            comment="From 1.02^(bucket - 1) to below 1.02^bucket microseconds; 0: no time at all.",
        ),
        sa.Column("runs", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("span", "begins", "job_type", "bucket", name=op.f("pk_run_durations")),
        comment="How long runs that succeeded or failed took, for percentiles. Written by log-writer with run_hours.",
    )
    # Nearly every write changes rows that are there: leave room on their pages, and vacuum before it is a fifth.
    for table in ("run_hours", "run_durations"):
        op.execute(f"ALTER TABLE {table} SET (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05)")
    _make_functions()
    _make_triggers()
    op.execute("SELECT recount_runs()")


def _make_functions() -> None:
    op.execute(
        "CREATE FUNCTION run_microseconds(seconds double precision) RETURNS bigint LANGUAGE sql IMMUTABLE "
        "RETURN round(seconds * 1000000)::bigint"
    )
    # No whole number of microseconds is so near a border that rounding could put it on either side.
    op.execute(
        "CREATE FUNCTION run_duration_bucket(microseconds bigint) RETURNS integer LANGUAGE sql IMMUTABLE RETURN "
        "CASE WHEN microseconds > 0 THEN 1 + floor(ln(microseconds::double precision) / ln(1.02::double precision)) "
        "ELSE 0 END::integer"
    )
    for name, changed, rows, more in (
        ("count_added_runs", "after", ADDED, ""),
        ("count_changed_runs", "after", CHANGED, ""),
        ("count_removed_runs", "before", REMOVED, SWEEP),
    ):
        op.execute(COUNT.format(name=name, changed=changed, statements=_count(rows) + more))
    op.execute(RECOUNT.format(statements=_count(ALL)))
    op.execute(FORGET)


def _count(rows: str) -> str:
    return (COUNT_HOURS + COUNT_DURATIONS).format(rows=rows)


def _make_triggers() -> None:
    for name, event, tables in (
        ("count_added_runs", "INSERT", "NEW TABLE AS after"),
        ("count_changed_runs", "UPDATE", "OLD TABLE AS before NEW TABLE AS after"),
        ("count_removed_runs", "DELETE", "OLD TABLE AS before"),
    ):
        op.execute(
            f"CREATE TRIGGER {name} AFTER {event} ON job_execution_logs REFERENCING {tables} "
            f"FOR EACH STATEMENT EXECUTE FUNCTION {name}()"
        )
    op.execute(
        "CREATE TRIGGER forget_runs AFTER TRUNCATE ON job_execution_logs FOR EACH STATEMENT EXECUTE FUNCTION forget_runs()"
    )


def downgrade() -> None:
    for name in ("count_added_runs", "count_changed_runs", "count_removed_runs", "forget_runs"):
        op.execute(f"DROP TRIGGER {name} ON job_execution_logs")
        op.execute(f"DROP FUNCTION {name}()")
    op.execute("DROP FUNCTION recount_runs()")
    op.execute("DROP FUNCTION run_duration_bucket(bigint)")
    op.execute("DROP FUNCTION run_microseconds(double precision)")
    op.drop_table("run_durations")
    op.drop_table("run_hours")
