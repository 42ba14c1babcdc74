"""Manual runs wait until the current run of their config has ended

Revision ID: 0009
Revises: 0008
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "manual_runs",
        sa.Column("run_id", sa.UUID(), nullable=False),
        sa.Column("config_id", sa.BigInteger(), nullable=False, comment="No foreign key: the run outlives its config."),
        sa.Column(
            "asked_at",
            sa.TIMESTAMP(timezone=True),
            nullable=False,
            comment="When the first trigger of this run was accepted.",
        ),
        sa.Column(
            "initial_run_id",
            sa.UUID(),
            nullable=True,
            comment="The first run of a new config, for which this one waits.",
        ),
        sa.Column("lane", sa.Text(), nullable=False, comment="The key of the tick."),
        sa.Column("tick", sa.LargeBinary(), nullable=False, comment="The event's JSON."),
        sa.Column("headers", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column(
            "released_at",
            sa.TIMESTAMP(timezone=True),
            nullable=True,
            comment="When the tick went to the outbox. Null: the run is held.",
        ),
        sa.PrimaryKeyConstraint("run_id", name=op.f("pk_manual_runs")),
        comment="Triggers that were accepted and whose run has not ended. Written by admin-api.",
    )
    op.create_index(
        "uq_manual_runs_held",
        "manual_runs",
        ["config_id"],
        unique=True,
        postgresql_where=sa.text("released_at IS NULL"),
    )
    op.create_index(op.f("ix_manual_runs_config_id"), "manual_runs", ["config_id"], unique=False)


def downgrade() -> None:
    op.drop_index(op.f("ix_manual_runs_config_id"), table_name="manual_runs")
    op.drop_index("uq_manual_runs_held", table_name="manual_runs")
    op.drop_table("manual_runs")
