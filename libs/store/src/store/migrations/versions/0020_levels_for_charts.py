"""Levels for charts

Candle-writer fills the levels of long series in the background after its start.

Revision ID: 0020
Revises: 0019
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY, DOUBLE_PRECISION

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

_INSTANT = sa.TIMESTAMP(timezone=True)

# The triggers also notice the candles that the earlier release writes, and changes by hand. They lock the series before
# they read its levels, as candle-writer does before it fills levels. So one of two concurrent transactions always sees
# the work of the other one. Without the lock, a change by hand could miss levels that are being filled meanwhile. The
# two statements have a snapshot each, so the second one sees what was committed during the wait for the lock.
#
# EXECUTE plans the statement each time, with the real number of changed rows. A cached plan may have been made for a
# batch with one candle. Its nested loop takes seconds for a batch with thousands of series.
#
# SECURITY DEFINER: between the migration and the grants, candle-writer has no rights to the new tables.
_NOTE = """
CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
  PERFORM FROM series WHERE id IN ({series}) ORDER BY id FOR NO KEY UPDATE;
  EXECUTE $statement$
    INSERT INTO stale_levels (series_id, starts_at)
    SELECT DISTINCT series_id, date_bin(make_interval(secs => lengths[cardinality(lengths)]), open_time, 'epoch')
    FROM series_levels JOIN ({changed}) AS changed USING (series_id)
    WHERE open_time >= starts_at AND open_time < ends_at
    ON CONFLICT DO NOTHING
  $statement$;
  RETURN NULL;
END $$
"""
_FUNCTIONS = {
    "note_stale_levels": ("SELECT series_id FROM changed_rows", "SELECT series_id, open_time FROM changed_rows"),
    "note_stale_levels_of_updates": (
        "SELECT series_id FROM old_rows UNION SELECT series_id FROM new_rows",
        "SELECT series_id, open_time FROM old_rows UNION ALL SELECT series_id, open_time FROM new_rows",
    ),
}
_TRIGGERS = {
    "levels_after_insert": ("INSERT", "NEW TABLE AS changed_rows", "note_stale_levels"),
    "levels_after_update": ("UPDATE", "OLD TABLE AS old_rows NEW TABLE AS new_rows", "note_stale_levels_of_updates"),
    "levels_after_delete": ("DELETE", "OLD TABLE AS changed_rows", "note_stale_levels"),
}
_FORGET = """
CREATE FUNCTION forget_levels() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
  DELETE FROM series_levels;
  RETURN NULL;
END $$
"""


def upgrade() -> None:
    _add_tables()
    for name, (series, changed) in _FUNCTIONS.items():
        op.execute(_NOTE.format(name=name, series=series, changed=changed))
    op.execute(_FORGET)
    for name, (event, tables, function) in _TRIGGERS.items():
        op.execute(
            f"CREATE TRIGGER {name} AFTER {event} ON candles REFERENCING {tables} "
            f"FOR EACH STATEMENT EXECUTE FUNCTION {function}()"
        )
    op.execute(
        "CREATE TRIGGER levels_after_truncate AFTER TRUNCATE ON candles "
        "FOR EACH STATEMENT EXECUTE FUNCTION forget_levels()"
    )


def _add_tables() -> None:
    op.create_table(
        "series_levels",
        sa.Column("series_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("starts_at", _INSTANT, nullable=False, comment="The start of the time with levels."),
        sa.Column("ends_at", _INSTANT, nullable=False, comment="The end of the time with levels."),
        sa.Column(
            "lengths",
            ARRAY(sa.Integer()),
            nullable=False,
            comment="The lengths of the levels in seconds, ascending. The last one is the unit of stale_levels.",
        ),
        sa.ForeignKeyConstraint(
            ["series_id"], ["series.id"], name=op.f("fk_series_levels_series_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("series_id", name=op.f("pk_series_levels")),
        comment="The series with levels for charts. Candle_levels is valid in this time, but not in the units of "
        "stale_levels. Written by candle-writer in the background.",
    )
    op.create_table(
        "candle_levels",
        sa.Column("series_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("seconds", sa.Integer(), nullable=False, comment="The length of the row. Each length is a level."),
        sa.Column("starts_at", _INSTANT, nullable=False, comment="A multiple of the length since the epoch."),
        sa.Column("open", DOUBLE_PRECISION(), nullable=False, comment="Of the first candle."),
        sa.Column("high", DOUBLE_PRECISION(), nullable=False),
        sa.Column("low", DOUBLE_PRECISION(), nullable=False),
        sa.Column("close", DOUBLE_PRECISION(), nullable=False, comment="Of the last candle."),
        sa.Column(
            "volume", sa.Numeric(), nullable=False, comment="Exact, so that sums do not depend on their order."
        ),
        sa.Column(
            "candles",
            sa.Integer(),
            nullable=False,
            comment="The number of candles. Time without candles has no row.",
        ),
        sa.ForeignKeyConstraint(
            ["series_id"],
            ["series_levels.series_id"],
            name=op.f("fk_candle_levels_series_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("series_id", "seconds", "starts_at", name=op.f("pk_candle_levels")),
        comment="The candles of long series, joined for charts: see series_levels. Written by candle-writer in the "
        "background.",
    )
    op.create_table(
        "stale_levels",
        sa.Column("series_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("starts_at", _INSTANT, nullable=False, comment="A unit is as long as the longest level."),
        sa.ForeignKeyConstraint(
            ["series_id"],
            ["series_levels.series_id"],
            name=op.f("fk_stale_levels_series_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("series_id", "starts_at", name=op.f("pk_stale_levels")),
        comment="The units whose candles changed after their levels were filled. Triggers of candles add them. "
        "Written by candle-writer, which fills the levels again.",
    )


def downgrade() -> None:
    for name in (*_TRIGGERS, "levels_after_truncate"):
        op.execute(f"DROP TRIGGER {name} ON candles")
    for name in (*_FUNCTIONS, "forget_levels"):
        op.execute(f"DROP FUNCTION {name}()")
    for name in ("stale_levels", "candle_levels", "series_levels"):
        op.drop_table(name)
