"""Hourly counts of the run log

Triggers record every change of the run log in run_changes, including changes by the previous release and by an
operator. log-writer adds the changes up every few seconds. A query adds the changes that log-writer has not added yet.
docs/decisions/0009 has the reasons.

Revision ID: 0003
Revises: 0002
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

# A change of a run adds two rows: the old state with the count -1, and the new state with the count +1. Rows are only
# added, so writers of the log never wait for each other, although all of them change the counts of the current hour.
NOTE = """
    CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
      INSERT INTO run_changes (hour, job_type, status, error_class, bucket, runs, duration_microseconds, records)
      {counts}
      HAVING (sum(sign), coalesce(sum(sign * run_microseconds(duration_seconds)), 0),
        sum(sign * records_collected::bigint)) <> (0, 0, 0);
      RETURN NULL;
    END $$
"""

COUNTS = """
      SELECT date_bin('1 hour', started_at, 'epoch'), job_type, status, coalesce(error_class, ''),
        run_duration_bucket(duration_seconds), sum(sign),
        coalesce(sum(sign * run_microseconds(duration_seconds)), 0), sum(sign * records_collected::bigint)
      FROM ({moves}) AS moves
      GROUP BY 1, 2, 3, 4, 5
"""

# This function does nothing if another session is already adding up the changes. It deletes rows whose count is zero.
SETTLE = """
    CREATE FUNCTION settle_run_changes() RETURNS bigint LANGUAGE plpgsql AS $$
    DECLARE settled bigint; touched timestamptz[];
    BEGIN
      IF NOT pg_try_advisory_xact_lock(7226501136) THEN RETURN 0; END IF;
      WITH changes AS (DELETE FROM run_changes RETURNING *),
        hours AS (
          INSERT INTO run_hours AS known
            (hour, job_type, status, error_class, runs, timed_runs, duration_microseconds, records)
          SELECT hour, job_type, status, error_class, sum(runs), sum(CASE WHEN bucket IS NULL THEN 0 ELSE runs END),
            sum(duration_microseconds), sum(records)
          FROM changes GROUP BY 1, 2, 3, 4
          ON CONFLICT (hour, job_type, status, error_class) DO UPDATE SET
            runs = known.runs + excluded.runs,
            timed_runs = known.timed_runs + excluded.timed_runs,
            duration_microseconds = known.duration_microseconds + excluded.duration_microseconds,
            records = known.records + excluded.records
        ),
        durations AS (
          INSERT INTO run_durations AS known (span, begins, job_type, bucket, runs)
          SELECT span, date_bin(width, hour, 'epoch'), job_type, bucket, sum(runs)
          FROM changes, (VALUES ('hour', interval '1 hour'), ('day', interval '1 day')) AS spans (span, width)
          WHERE status IN ('success', 'failed') AND bucket IS NOT NULL
          GROUP BY 1, 2, 3, 4
          HAVING sum(runs) <> 0
          ORDER BY 1, 2, 3, 4 -- rows that are read together are stored together
          ON CONFLICT (span, begins, job_type, bucket) DO UPDATE SET runs = known.runs + excluded.runs
        )
      SELECT count(*), array_agg(DISTINCT hour) INTO settled, touched FROM changes;
      DELETE FROM run_hours WHERE hour = ANY(touched) AND runs = 0;
      DELETE FROM run_durations WHERE span = 'hour' AND begins = ANY(touched) AND runs = 0;
      DELETE FROM run_durations WHERE span = 'day' AND runs = 0;
      RETURN settled;
    END $$
"""

# This function counts the whole run log again. Writers of the log wait during this time.
RECOUNT = """
    CREATE FUNCTION recount_runs() RETURNS void LANGUAGE plpgsql AS $$
    BEGIN
      PERFORM pg_advisory_xact_lock(7226501136);
      LOCK TABLE job_execution_logs IN SHARE ROW EXCLUSIVE MODE;
      DELETE FROM run_hours;
      DELETE FROM run_durations;
      DELETE FROM run_changes;
      INSERT INTO run_changes (hour, job_type, status, error_class, bucket, runs, duration_microseconds, records)
      {counts};
      PERFORM settle_run_changes();
    END $$
"""

FORGET = """
    CREATE FUNCTION forget_runs() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
      PERFORM pg_advisory_xact_lock(7226501136);
      TRUNCATE run_hours, run_durations, run_changes;
      RETURN NULL;
    END $$
"""

ADDED = "SELECT 1 AS sign, * FROM after"
CHANGED = "SELECT -1 AS sign, * FROM before UNION ALL SELECT 1, * FROM after"
REMOVED = "SELECT -1 AS sign, * FROM before"
ALL = "SELECT 1 AS sign, * FROM job_execution_logs"


def upgrade() -> None:
    op.create_table(
        "run_hours",
        sa.Column(
            "hour", sa.TIMESTAMP(timezone=True), nullable=False, comment="The UTC hour in which the runs started."
        ),
        sa.Column("job_type", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("error_class", sa.Text(), nullable=False, comment="Empty: no error."),
        sa.Column("runs", sa.BigInteger(), nullable=False),
        sa.Column("timed_runs", sa.BigInteger(), nullable=False, comment="The number of runs that have a duration."),
        sa.Column(
            "duration_microseconds", sa.BigInteger(), nullable=False, comment="The sum of the durations, as an integer so that it is exact."
        ),
        sa.Column("records", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("hour", "job_type", "status", "error_class", name=op.f("pk_run_hours")),
        comment="Hourly counts of the run log, without the rows of run_changes. Written by log-writer.",
    )
    op.create_table(
        "run_durations",
        sa.Column("span", sa.Text(), nullable=False, comment="hour or day. A report over a month reads 30 days and a few hours."),
        sa.Column("begins", sa.TIMESTAMP(timezone=True), nullable=False, comment="The UTC hour or day of the start."),
        sa.Column("job_type", sa.Text(), nullable=False),
        sa.Column(
            "bucket",
            sa.Integer(),
            nullable=False,
            comment="From 1.02^(bucket - 1) to below 1.02^bucket microseconds. 0: less than a microsecond.",
        ),
        sa.Column("runs", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("span", "begins", "job_type", "bucket", name=op.f("pk_run_durations")),
        comment="Durations of runs that succeeded or failed, for percentiles. Written by log-writer with run_hours.",
    )
    op.create_table(
        "run_changes",
        sa.Column("hour", sa.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("job_type", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("error_class", sa.Text(), nullable=False),
        sa.Column("bucket", sa.Integer(), nullable=True, comment="As in run_durations. Null: the runs have no duration."),
        sa.Column("runs", sa.BigInteger(), nullable=False, comment="The change of the number of runs; negative if there are fewer."),
        sa.Column("duration_microseconds", sa.BigInteger(), nullable=False),
        sa.Column("records", sa.BigInteger(), nullable=False),
        comment="Changes that must still be added to run_hours and run_durations. Written by log-writer in the transaction "
        "that changes the state of a run.",
    )
    # The rows of these tables change often, so leave space on the pages and vacuum sooner than by default.
    op.execute("ALTER TABLE run_hours SET (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05)")
    op.execute("ALTER TABLE run_durations SET (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05)")
    op.execute("ALTER TABLE run_changes SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000)")
    _make_functions()
    _make_triggers()
    op.execute("SELECT recount_runs()")


def _make_functions() -> None:
    op.execute(
        "CREATE FUNCTION run_microseconds(seconds double precision) RETURNS bigint LANGUAGE sql IMMUTABLE "
        "RETURN round(seconds * 1000000)::bigint"
    )
    # No whole number of microseconds is so close to the limit of a bucket that rounding could move it to another
    # bucket.
    op.execute(
        "CREATE FUNCTION run_duration_bucket(seconds double precision) RETURNS integer LANGUAGE sql IMMUTABLE RETURN "
        "CASE WHEN seconds IS NULL THEN NULL WHEN round(seconds * 1000000) < 1 THEN 0 "
        "ELSE 1 + floor(ln(round(seconds * 1000000)) / ln(1.02::double precision)) END::integer"
    )
    for name, moves in (("note_added_runs", ADDED), ("note_changed_runs", CHANGED), ("note_removed_runs", REMOVED)):
        op.execute(NOTE.format(name=name, counts=COUNTS.format(moves=moves)))
    op.execute(SETTLE)
    op.execute(RECOUNT.format(counts=COUNTS.format(moves=ALL)))
    op.execute(FORGET)


def _make_triggers() -> None:
    for name, event, tables in (
        ("note_added_runs", "INSERT", "NEW TABLE AS after"),
        ("note_changed_runs", "UPDATE", "OLD TABLE AS before NEW TABLE AS after"),
        ("note_removed_runs", "DELETE", "OLD TABLE AS before"),
    ):
        op.execute(
            f"CREATE TRIGGER {name} AFTER {event} ON job_execution_logs REFERENCING {tables} "
            f"FOR EACH STATEMENT EXECUTE FUNCTION {name}()"
        )
    op.execute(
        "CREATE TRIGGER forget_runs AFTER TRUNCATE ON job_execution_logs FOR EACH STATEMENT EXECUTE FUNCTION forget_runs()"
    )


def downgrade() -> None:
    for name in ("note_added_runs", "note_changed_runs", "note_removed_runs", "forget_runs"):
        op.execute(f"DROP TRIGGER {name} ON job_execution_logs")
        op.execute(f"DROP FUNCTION {name}()")
    op.execute("DROP FUNCTION recount_runs()")
    op.execute("DROP FUNCTION settle_run_changes()")
    op.execute("DROP FUNCTION run_duration_bucket(double precision)")
    op.execute("DROP FUNCTION run_microseconds(double precision)")
    op.drop_table("run_changes")
    op.drop_table("run_durations")
    op.drop_table("run_hours")
