"""The state of the notifications

The new table is empty. Admin-api fills it if NOTIFY_URLS is set.

Revision ID: 0021
Revises: 0020
"""

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None

_INSTANT = sa.TIMESTAMP(timezone=True)


def upgrade() -> None:
    op.create_table(
        "notifications",
        sa.Column(
            "receiver", sa.Text(), nullable=False, comment="Hash of the receiver's address without its secrets."
        ),
        sa.Column("exchange", sa.Text(), nullable=False),
        sa.Column("cause", sa.Text(), nullable=False, comment="Such as failed_runs:banned or stuck_runs."),
        sa.Column("since", _INSTANT, nullable=False, comment="The first failure, or the time of the next loss."),
        sa.Column(
            "size", sa.BigInteger(), nullable=False, comment="The number of configs, runs or series, as last seen."
        ),
        sa.Column("total", sa.BigInteger(), nullable=False, comment="The number of configs of the exchange, or 0."),
        sa.Column("example", sa.Text(), nullable=False),
        sa.Column("first_seen", _INSTANT, nullable=False),
        sa.Column("last_seen", _INSTANT, nullable=False),
        sa.Column(
            "reported_at",
            _INSTANT,
            nullable=True,
            comment="When the receiver accepted the last message. Null: there was none yet.",
        ),
        sa.PrimaryKeyConstraint("receiver", "exchange", "cause", name=op.f("pk_notifications")),
        comment="The problems that receivers of notifications know, until they are resolved. Written by "
        "admin-api.",
    )


def downgrade() -> None:
    op.drop_table("notifications")
