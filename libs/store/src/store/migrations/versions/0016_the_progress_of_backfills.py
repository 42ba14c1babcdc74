"""The announced progress of backfills

Revision ID: 0016
Revises: 0015
"""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "backfill_progress",
        sa.Column("backfill_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column(
            "claimed_at",
            sa.TIMESTAMP(timezone=True),
            nullable=False,
            comment="When a backfiller last compared it with the ledger.",
        ),
        sa.Column(
            "missing_candles",
            sa.BigInteger(),
            nullable=True,
            comment="As in the last announcement. Null: there was none.",
        ),
        sa.Column(
            "is_whole",
            sa.Boolean(),
            server_default=sa.text("false"),
            nullable=False,
            comment="No announcement follows.",
        ),
        sa.PrimaryKeyConstraint("backfill_id", name=op.f("pk_backfill_progress")),
        comment="The announced progress of each backfill. Written by backfiller.",
    )


def downgrade() -> None:
    op.drop_table("backfill_progress")
