"""The ledger of coverage: verified spans, absences and rejected rows of each series

The ledger starts from the stored candles. Each candle verifies its own period, and adjoining periods merge. The time
between two stored candles is not claimed: nothing shows today whether the exchange had candles there.

Revision ID: 0010
Revises: 0009
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

MAX_SPANS = 64
"""At most this many spans per series, the newest. A series of an exchange that omits silent minutes has tens of
thousands of gaps a year. As a row, they would be rewritten by every batch. Candles before these spans are not claimed;
the hull of the verified spans begins later. 64 spans take about 1.3 KB, so the row needs no TOAST.
"""

# The spans of the stored candles from `since` on: the newest ones, at most `spans`. A candle ends as
# `contracts.timeframes.shift` computes it: months and years follow the calendar of UTC. Reads the candles backwards in
# pieces, so that it stops early in a series with many gaps and needs little memory.
STORED_SPANS = """
    CREATE OR REPLACE FUNCTION stored_spans(series integer, since timestamptz, spans integer)
    RETURNS tstzmultirange LANGUAGE plpgsql STABLE AS $$
    DECLARE
      unit text;
      count integer;
      length interval; -- of a candle; null for months and years
      months interval;
      found tstzmultirange := '{}';
      piece tstzmultirange;
      upto timestamptz := 'infinity';
      earliest timestamptz;
    BEGIN
      SELECT right(timeframe, 1), left(timeframe, -1)::integer INTO unit, count
      FROM series AS known WHERE known.id = stored_spans.series;
      length := count * CASE unit WHEN 's' THEN interval '1 second' WHEN 'm' THEN interval '1 minute'
        WHEN 'h' THEN interval '1 hour' WHEN 'd' THEN interval '24 hours' WHEN 'w' THEN interval '168 hours' END;
      months := count * CASE unit WHEN 'M' THEN interval '1 month' WHEN 'y' THEN interval '12 months' END;
      LOOP
        SELECT min(open_time), range_agg(tstzrange(open_time, CASE WHEN months IS NULL THEN open_time + length
          ELSE (month + months) AT TIME ZONE 'UTC' + greatest(open_time - month AT TIME ZONE 'UTC', interval '0') END))
        INTO earliest, piece
        FROM (
          SELECT open_time, date_trunc('month', open_time AT TIME ZONE 'UTC' + interval '1 day') AS month FROM candles
          WHERE series_id = series AND open_time >= since AND open_time < upto
          ORDER BY open_time DESC LIMIT 100000
        ) AS newest;
        EXIT WHEN earliest IS NULL;
        found := found + piece;
        upto := earliest;
        -- The oldest span may continue in the next piece, so one more is needed.
        EXIT WHEN (SELECT count(*) FROM unnest(found)) > spans;
      END LOOP;
      RETURN (
        SELECT coalesce(range_agg(span), '{}')
        FROM (SELECT span FROM unnest(found) AS span ORDER BY span DESC LIMIT spans) AS newest
      );
    END $$
"""

START = sa.text("""
    INSERT INTO coverage (series_id, verified, updated_at)
    SELECT :series, found, now() FROM stored_spans(:series, '-infinity', :spans) AS found WHERE NOT isempty(found)
    ON CONFLICT (series_id) DO NOTHING
""")
SERIES = sa.text("SELECT id FROM series WHERE id NOT IN (SELECT series_id FROM coverage) ORDER BY id")

OF_SERIES = "One row per (exchange, symbol, timeframe) that has candles. Written by candle-writer."
OF_ALL_SERIES = (
    "One row per (exchange, symbol, timeframe) that was collected, also without candles. Written by candle-writer."
)


def upgrade() -> None:
    """Each step is committed on its own, because the steps for the series take long. So each step can be repeated."""
    _make_tables()
    # The verified spans grow with every batch of candles, often those of all series of a page at once. Pages that are
    # half full have space for the new versions, so that the table and its index do not grow.
    op.execute("ALTER TABLE coverage SET (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05)")
    op.create_table_comment("series", OF_ALL_SERIES, existing_comment=OF_SERIES)
    op.execute(STORED_SPANS)
    with op.get_context().autocommit_block():
        connection = op.get_bind()
        for series in connection.scalars(SERIES).all():
            connection.execute(START, {"series": series, "spans": MAX_SPANS})


def _make_tables() -> None:
    op.create_table(
        "coverage",
        sa.Column("series_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column(
            "verified",
            postgresql.TSTZMULTIRANGE(),
            nullable=False,
            comment="The spans that answers vouch for: all candles in them are stored. Never empty.",
        ),
        sa.Column(
            "updated_at", sa.TIMESTAMP(timezone=True), nullable=False, comment="When the verified spans last grew."
        ),
        sa.ForeignKeyConstraint(["series_id"], ["series.id"], name=op.f("fk_coverage_series_id")),
        sa.PrimaryKeyConstraint("series_id", name=op.f("pk_coverage")),
        comment="The verified spans of each series. Written by candle-writer in the transaction of the candles.",
        if_not_exists=True,
    )
    op.create_table(
        "absences",
        sa.Column("series_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("starts_at", sa.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("ends_at", sa.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("absence_class", sa.Text(), nullable=False, comment="unread, unproven, rejected or lost."),
        sa.Column("evidence", sa.Text(), nullable=False),
        sa.Column(
            "first_seen",
            sa.TIMESTAMP(timezone=True),
            nullable=False,
            comment="The first check that reported this span, of any class.",
        ),
        sa.Column(
            "last_checked",
            sa.TIMESTAMP(timezone=True),
            nullable=False,
            comment="The check that counts: the latest of this span.",
        ),
        sa.Column("run_id", sa.UUID(), nullable=False, comment="The run of the latest check."),
        sa.CheckConstraint("starts_at < ends_at", name=op.f("ck_absences_span")),
        sa.ForeignKeyConstraint(["series_id"], ["series.id"], name=op.f("fk_absences_series_id")),
        sa.PrimaryKeyConstraint("series_id", "starts_at", name=op.f("pk_absences")),
        comment="Spans that could not be verified, with the reason. They overlap neither each other nor the verified "
        "spans of their series. Written by candle-writer in the transaction of the candles.",
        if_not_exists=True,
    )
    op.create_table(
        "rejected_candles",
        sa.Column("series_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("open_time", sa.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("row", sa.Text(), nullable=False, comment="The row as ccxt parsed it, as JSON."),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("first_seen", sa.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("last_seen", sa.TIMESTAMP(timezone=True), nullable=False),
        sa.Column(
            "times", sa.Integer(), nullable=False, comment="The number of runs that saw it. 100: at least 100."
        ),
        sa.Column("run_id", sa.UUID(), nullable=False, comment="The run that saw it last."),
        sa.Column(
            "run_ids",
            postgresql.ARRAY(sa.UUID()),
            nullable=False,
            comment="The runs that times counts, so that a replayed message is not counted again.",
        ),
        sa.ForeignKeyConstraint(["series_id"], ["series.id"], name=op.f("fk_rejected_candles_series_id")),
        sa.PrimaryKeyConstraint("series_id", "open_time", "row", name=op.f("pk_rejected_candles")),
        comment="Rows that cannot be candles and that the exchange repeated. Written by candle-writer.",
        if_not_exists=True,
    )


def downgrade() -> None:
    op.execute("DROP FUNCTION stored_spans(integer, timestamptz, integer)")
    op.drop_table("rejected_candles")
    op.drop_table("absences")
    op.drop_table("coverage")
    op.create_table_comment("series", OF_SERIES, existing_comment=OF_ALL_SERIES)
