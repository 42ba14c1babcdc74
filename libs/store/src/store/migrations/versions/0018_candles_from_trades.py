"""Candles from trades

Revision ID: 0018
Revises: 0017
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import TSTZMULTIRANGE

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

_VIEW = """
CREATE OR REPLACE VIEW ohlcv AS
SELECT s.exchange, s.symbol, s.timeframe, c.open_time, c.open, c.high, c.low, c.close, c.volume, c.fetched_at,
       c.trades, c.quote_volume{more}
FROM candles c JOIN series s ON s.id = c.series_id
"""


def upgrade() -> None:
    # Columns that are null or have a constant default are added without a rewrite of the rows.
    op.add_column(
        "candles",
        sa.Column(
            "source", sa.Text(), nullable=True, comment="trades: built from trades. Null: the exchange's own candle."
        ),
    )
    op.add_column(
        "coverage",
        sa.Column(
            "from_trades",
            TSTZMULTIRANGE(),
            nullable=True,
            comment="The part of the verified spans that only candles from trades vouch for. Null: none.",
        ),
    )
    op.add_column(
        "backfills",
        sa.Column(
            "source",
            sa.Text(),
            server_default="candles",
            nullable=False,
            comment="trades: time without candles of the exchange is built from its trades. candles: it is not.",
        ),
    )
    op.execute(_VIEW.format(more=", coalesce(c.source, 'exchange') AS source"))


def downgrade() -> None:
    op.execute("DROP VIEW ohlcv")
    op.execute(_VIEW.format(more=""))
    op.execute("COMMENT ON VIEW ohlcv IS 'Candles by exchange, symbol and timeframe, for queries by people.'")
    op.drop_column("backfills", "source")
    op.drop_column("coverage", "from_trades")
    op.drop_column("candles", "source")
