"""Trade counts and volumes in the quote currency

Revision ID: 0013
Revises: 0012
"""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

_VIEW = """
CREATE OR REPLACE VIEW ohlcv AS
SELECT s.exchange, s.symbol, s.timeframe, c.open_time, c.open, c.high, c.low, c.close, c.volume, c.fetched_at{more}
FROM candles c JOIN series s ON s.id = c.series_id
"""


def upgrade() -> None:
    # Nullable columns without a default are added without a rewrite of the rows.
    op.add_column(
        "candles",
        sa.Column(
            "trades", sa.BigInteger(), nullable=True, comment="The number of trades. Null: the exchange did not send it."
        ),
    )
    op.add_column(
        "candles",
        sa.Column(
            "quote_volume",
            sa.DOUBLE_PRECISION(),
            nullable=True,
            comment="The volume in the quote currency. Null: the exchange did not send it.",
        ),
    )
    op.execute(_VIEW.format(more=", c.trades, c.quote_volume"))


def downgrade() -> None:
    op.execute("DROP VIEW ohlcv")
    op.execute(_VIEW.format(more=""))
    op.execute("COMMENT ON VIEW ohlcv IS 'Candles by exchange, symbol and timeframe, for queries by people.'")
    op.drop_column("candles", "quote_volume")
    op.drop_column("candles", "trades")
