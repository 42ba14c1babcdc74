"""Absences have a level of evidence, the requests and answers behind it, and a time of the next check

The names of two classes change: unproven becomes unknown, lost becomes beyond_horizon. Stored rows keep their names,
because candle-writers of the previous release still run and cannot read others. Every reader knows both. A row gets the
new name when candle-writer writes it again.

More classes are final now, so candle-writer counts the days of all series again, in the background.

Revision ID: 0015
Revises: 0014
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

CLASS_NOW = "A value of AbsenceClass. Earlier releases wrote unproven (unknown) and lost (beyond_horizon)."
CLASS_BEFORE = "unread, unproven, rejected or lost."


def upgrade() -> None:
    # A column with a constant default is added without a rewrite of the table.
    op.add_column(
        "absences",
        sa.Column(
            "level",
            sa.SmallInteger(),
            server_default="0",
            nullable=False,
            comment="The level of the evidence, 0 to 7.",
        ),
        if_not_exists=True,
    )
    op.add_column(
        "absences",
        sa.Column(
            "proof",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=True,
            comment="The requests and answers: level, kind, asked, answered, at, run_ids.",
        ),
        if_not_exists=True,
    )
    op.add_column(
        "absences",
        sa.Column(
            "recheck_at",
            sa.TIMESTAMP(timezone=True),
            nullable=True,
            comment="When the span is checked again. Null: at no certain time.",
        ),
        if_not_exists=True,
    )
    op.alter_column("absences", "absence_class", comment=CLASS_NOW, existing_comment=CLASS_BEFORE)
    # The statements above have locked `absences`, and a writer reads `absences` before it changes these rows. So no
    # writer holds a lock on these rows now.
    op.execute("DELETE FROM series_counts")


def downgrade() -> None:
    op.execute("DELETE FROM series_counts")
    op.alter_column("absences", "absence_class", comment=CLASS_BEFORE, existing_comment=CLASS_NOW)
    for column in ("recheck_at", "proof", "level"):
        op.drop_column("absences", column)
