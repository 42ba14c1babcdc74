"""Proved listings in the daily counts

Candle-writer counts each series with a proved listing again in the background after its start.

Revision ID: 0019
Revises: 0018
"""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

_MISSING = "The time in open holes and in absences of a final class{more}. If it differs from the ledger, the series must "
_BE_COUNTED = "be counted again."


def upgrade() -> None:
    # A nullable column without a default is added without a rewrite of the rows.
    op.add_column(
        "series_counts",
        sa.Column(
            "listed_at",
            sa.TIMESTAMP(timezone=True),
            nullable=True,
            comment="The end of the first absence, if it is before a proved listing. The target begins here, and the "
            "days before have no counts. Null: no listing is proved.",
        ),
    )
    op.alter_column(
        "series_counts",
        "missing",
        existing_type=sa.Interval(),
        existing_nullable=False,
        existing_comment=_MISSING.format(more="") + _BE_COUNTED,
        comment=_MISSING.format(more=", but not before a proved listing") + _BE_COUNTED,
    )


def downgrade() -> None:
    op.alter_column(
        "series_counts",
        "missing",
        existing_type=sa.Interval(),
        existing_nullable=False,
        existing_comment=_MISSING.format(more=", but not before a proved listing") + _BE_COUNTED,
        comment=_MISSING.format(more="") + _BE_COUNTED,
    )
    op.drop_column("series_counts", "listed_at")
