"""Number of candles and time range of each series

Revision ID: 0005
Revises: 0004
"""

import sqlalchemy as sa
from alembic import op

from store.online_indexes import create_index, drop_index

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


INDEX = "ix_series_symbol_exchange_timeframe"


def upgrade() -> None:
    # Each new column is committed on its own, because it blocks readers until the commit, and the count below is slow.
    with op.get_context().autocommit_block():
        op.add_column(
            "series",
            sa.Column(
                "candle_count",
                sa.BigInteger(),
                server_default="0",
                nullable=False,
                comment="Kept in the transaction that stores the candles, so exact: counting millions takes seconds.",
            ),
            if_not_exists=True,
        )
        op.add_column(
            "series",
            sa.Column("first_open", sa.TIMESTAMP(timezone=True), nullable=True, comment="Null: no candle yet."),
            if_not_exists=True,
        )
        op.add_column("series", sa.Column("last_open", sa.TIMESTAMP(timezone=True), nullable=True), if_not_exists=True)
    create_index(INDEX, "series", ["symbol", "exchange", "timeframe"])
    # Leaves space on the pages for new versions of rows, because every batch of candles changes rows.
    op.execute("ALTER TABLE series SET (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05)")
    # No candle may be stored while the candles are counted. Readers do not wait.
    op.execute("LOCK TABLE candles IN SHARE MODE")
    op.execute(
        """
        UPDATE series SET candle_count = held.candles, first_open = held.first_open, last_open = held.last_open
        FROM (
          SELECT series_id, count(*) AS candles, min(open_time) AS first_open, max(open_time) AS last_open
          FROM candles GROUP BY series_id
        ) AS held
        WHERE held.series_id = series.id
        """
    )


def downgrade() -> None:
    drop_index(INDEX, "series")
    op.execute("ALTER TABLE series RESET (fillfactor, autovacuum_vacuum_scale_factor)")
    op.drop_column("series", "last_open")
    op.drop_column("series", "first_open")
    op.drop_column("series", "candle_count")
