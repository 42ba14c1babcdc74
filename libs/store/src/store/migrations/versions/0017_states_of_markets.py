"""The states of markets, from the lists of the exchanges

The new tables are empty. Log-writer fills them from the next list of each exchange.

Revision ID: 0017
Revises: 0016
"""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

_INSTANT = sa.TIMESTAMP(timezone=True)


def upgrade() -> None:
    op.create_table(
        "markets",
        sa.Column("exchange", sa.Text(), nullable=False),
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False, comment="spot or swap: the list that has the market."),
        sa.Column("market_id", sa.Text(), nullable=False, comment="The exchange's own name of the market."),
        sa.Column("state", sa.Text(), nullable=False, comment="listed, suspended, renamed or delisted."),
        sa.Column("since", _INSTANT, nullable=False, comment="The time of the first list that shows this state."),
        sa.Column("evidence", sa.Text(), nullable=False, comment="The lists behind the state, in words."),
        sa.Column(
            "frozen_at",
            _INSTANT,
            nullable=True,
            comment="The last time at which the market may have been traded. Null: it is listed.",
        ),
        sa.Column(
            "missing_since",
            _INSTANT,
            nullable=True,
            comment="The time of the first list without it. Null: it is in the last list.",
        ),
        sa.Column(
            "missing_lists",
            sa.Integer(),
            nullable=False,
            comment="The number of complete lists without it since then.",
        ),
        sa.Column(
            "last_listed",
            _INSTANT,
            nullable=True,
            comment="The time of the last list with it. Null: it is in the last list.",
        ),
        sa.Column(
            "renamed_to", sa.Text(), nullable=True, comment="The symbol under which the exchange lists its id."
        ),
        sa.Column(
            "created_at", _INSTANT, nullable=True, comment="The time that the exchange gives. It proves nothing."
        ),
        sa.PrimaryKeyConstraint("exchange", "symbol", name=op.f("pk_markets")),
        comment="The markets of the exchanges, as their lists show them. Written by log-writer.",
    )
    op.create_index(
        "ix_markets_frozen",
        "markets",
        ["exchange", "symbol"],
        unique=False,
        postgresql_where=sa.text("frozen_at IS NOT NULL"),
    )
    op.create_table(
        "market_lists",
        sa.Column("exchange", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False, comment="spot or swap."),
        sa.Column("read_at", _INSTANT, nullable=False),
        sa.Column("markets", sa.Integer(), nullable=False, comment="The number of markets in the list."),
        sa.Column(
            "incomplete_since",
            _INSTANT,
            nullable=True,
            comment="The time of the first of the newest lists that all lack a large part of the known markets. Null: "
            "the last list is complete.",
        ),
        sa.PrimaryKeyConstraint("exchange", "kind", name=op.f("pk_market_lists")),
        comment="The last list of markets of each exchange. Written by log-writer.",
    )


def downgrade() -> None:
    op.drop_table("market_lists")
    op.drop_table("markets")
