"""Daily counts of what is missing from each series

The new tables are empty. Candle-writer counts the ledger of each stored series in the background after its start.

Revision ID: 0014
Revises: 0013
"""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "series_days",
        sa.Column("series_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("day", sa.Date(), nullable=False, comment="UTC. A period belongs to the day in which it opens."),
        sa.Column(
            "unverified",
            sa.Integer(),
            nullable=False,
            comment="The periods between the first and the last verified instant that are not verified.",
        ),
        sa.Column(
            "whole",
            sa.Integer(),
            nullable=False,
            comment="The periods that are not verified, and whole by their absences.",
        ),
        sa.Column(
            "answered",
            sa.Integer(),
            nullable=False,
            comment="The periods that are not verified, and answered by their absences. Includes those that are whole.",
        ),
        sa.ForeignKeyConstraint(["series_id"], ["series.id"], name=op.f("fk_series_days_series_id")),
        sa.PrimaryKeyConstraint("series_id", "day", name=op.f("pk_series_days")),
        comment="The days of a series on which something is missing. A day without a row is verified between the first "
        "and the last verified instant of its series, and not answered outside. Written by candle-writer in the "
        "transaction of the ledger.",
    )
    op.create_index(op.f("ix_series_days_day"), "series_days", ["day"], unique=False)
    op.create_table(
        "series_counts",
        sa.Column("series_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column(
            "anchor",
            sa.TIMESTAMP(timezone=True),
            nullable=False,
            comment="An edge of the periods with which the days were counted.",
        ),
        sa.Column(
            "first_absence",
            sa.TIMESTAMP(timezone=True),
            nullable=True,
            comment="The start of the first absence. Null: there is none.",
        ),
        sa.Column(
            "answered_until",
            sa.TIMESTAMP(timezone=True),
            nullable=True,
            comment="The end of the last absence of a final class. Null: none.",
        ),
        sa.Column(
            "unverified",
            sa.BigInteger(),
            nullable=False,
            comment="The sum over series_days, like the next columns.",
        ),
        sa.Column("whole", sa.BigInteger(), nullable=False),
        sa.Column("answered", sa.BigInteger(), nullable=False),
        sa.Column(
            "missing",
            sa.Interval(),
            nullable=False,
            comment="The time in open holes and in absences of a final class. If it differs from the ledger, the series "
            "must be counted again.",
        ),
        sa.ForeignKeyConstraint(["series_id"], ["series.id"], name=op.f("fk_series_counts_series_id")),
        sa.PrimaryKeyConstraint("series_id", name=op.f("pk_series_counts")),
        comment="The sums over the days of each series. A series of an earlier release has no row until it is counted. "
        "Written by candle-writer in the transaction of the ledger.",
    )


def downgrade() -> None:
    op.drop_table("series_counts")
    op.drop_table("series_days")
