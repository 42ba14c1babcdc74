"""The run log, counted by the hour

Revision ID: 0003
Revises: 0002
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "run_hours",
        sa.Column(
            "hour", sa.TIMESTAMP(timezone=True), nullable=False, comment="The UTC hour in which the runs started."
        ),
        sa.Column("job_type", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("error_class", sa.Text(), nullable=False, comment="Empty: none."),
        sa.Column("runs", sa.BigInteger(), nullable=False),
        sa.Column("timed_runs", sa.BigInteger(), nullable=False, comment="Those that have a duration."),
        sa.Column(
            "duration_microseconds", sa.BigInteger(), nullable=False, comment="Their sum: exact, as no float is."
        ),
        sa.Column("records", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("hour", "job_type", "status", "error_class", name=op.f("pk_run_hours")),
        comment="The run log, counted by the hour. Written by log-writer in the transaction that moves a run's state.",
    )


def downgrade() -> None:
    op.drop_table("run_hours")
