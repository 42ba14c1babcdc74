"""The audit log and sessions store the subject of the caller at its identity provider

Revision ID: 0007
Revises: 0006
"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

COMMENT = "Issuer and subject of an identity provider's token, as issuer#subject. Null: the caller had no such token."


def upgrade() -> None:
    for table in ("audit_log", "sessions"):
        op.add_column(table, sa.Column("subject", sa.Text(), nullable=True, comment=COMMENT))


def downgrade() -> None:
    for table in ("sessions", "audit_log"):
        op.drop_column(table, "subject")
