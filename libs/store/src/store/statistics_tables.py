"""The tables of the run statistics: the counts of the run log by hour. docs/statistics.md describes them."""

import sqlalchemy as sa

from store.tables import metadata

__all__ = ["metadata", "run_changes", "run_durations", "run_exchange_changes", "run_exchange_hours", "run_hours"]

_instant = sa.TIMESTAMP(timezone=True)

run_hours = sa.Table(
    "run_hours",
    metadata,
    sa.Column("hour", _instant, primary_key=True, comment="The UTC hour in which the runs started."),
    sa.Column("job_type", sa.Text, primary_key=True),
    sa.Column("status", sa.Text, primary_key=True),
    sa.Column("error_class", sa.Text, primary_key=True, comment="Empty: no error."),
    sa.Column("runs", sa.BigInteger, nullable=False),
    sa.Column("timed_runs", sa.BigInteger, nullable=False, comment="The number of runs that have a duration."),
    sa.Column(
        "duration_microseconds",
        sa.BigInteger,
        nullable=False,
        comment="The sum of the durations, as an integer so that it is exact.",
    ),
    sa.Column("records", sa.BigInteger, nullable=False),
    comment="Hourly counts of the run log, without the rows of run_changes. Written by log-writer.",
)

run_durations = sa.Table(
    "run_durations",
    metadata,
    sa.Column(
        "span", sa.Text, primary_key=True, comment="hour or day. A report over a month reads 30 days and a few hours."
    ),
    sa.Column("begins", _instant, primary_key=True, comment="The UTC hour or day of the start."),
    sa.Column("job_type", sa.Text, primary_key=True),
    sa.Column(
        "bucket",
        sa.Integer,
        primary_key=True,
        autoincrement=False,
        comment="From 1.02^(bucket - 1) to below 1.02^bucket microseconds. 0: less than a microsecond.",
    ),
    sa.Column("runs", sa.BigInteger, nullable=False),
    comment="Durations of runs that succeeded or failed, for percentiles. Written by log-writer with run_hours.",
)

run_changes = sa.Table(
    "run_changes",
    metadata,
    sa.Column("hour", _instant, nullable=False),
    sa.Column("job_type", sa.Text, nullable=False),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("error_class", sa.Text, nullable=False),
    sa.Column("bucket", sa.Integer, comment="As in run_durations. Null: the runs have no duration."),
    sa.Column(
        "runs", sa.BigInteger, nullable=False, comment="The change of the number of runs; negative if there are fewer."
    ),
    sa.Column("duration_microseconds", sa.BigInteger, nullable=False),
    sa.Column("records", sa.BigInteger, nullable=False),
    comment="Changes that must still be added to run_hours and run_durations. Written by log-writer in the transaction "
    "that changes the state of a run.",
)

run_exchange_hours = sa.Table(
    "run_exchange_hours",
    metadata,
    sa.Column("hour", _instant, primary_key=True, comment="The UTC hour in which the runs started."),
    sa.Column("job_type", sa.Text, primary_key=True),
    sa.Column("exchange", sa.Text, primary_key=True),
    sa.Column("runs", sa.BigInteger, nullable=False),
    sa.Column("duration_microseconds", sa.BigInteger, nullable=False),
    sa.Column("records", sa.BigInteger, nullable=False),
    comment="The runs that have a duration, counted by the hour and exchange, except what run_exchange_changes holds. "
    "Written by log-writer.",
)

run_exchange_changes = sa.Table(
    "run_exchange_changes",
    metadata,
    sa.Column("hour", _instant, nullable=False),
    sa.Column("job_type", sa.Text, nullable=False),
    sa.Column("exchange", sa.Text, nullable=False),
    sa.Column("runs", sa.BigInteger, nullable=False, comment="How many more; below zero: fewer."),
    sa.Column("duration_microseconds", sa.BigInteger, nullable=False),
    sa.Column("records", sa.BigInteger, nullable=False),
    comment="Changes that are not added to run_exchange_hours yet. Written by log-writer in the transaction that moves "
    "a run's state.",
)
