"""The tables of tokens, of sessions and of the audit log. Admin-api writes them."""

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from store.tables.base import INSTANT, SUBJECT, metadata

api_tokens = sa.Table(
    "api_tokens",
    metadata,
    sa.Column("id", sa.BigInteger, sa.Identity(), primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("role", sa.Text, nullable=False),
    sa.Column("public_id", sa.Text, nullable=False, comment="The public part of the token, by which its row is found."),
    sa.Column(
        "secret_hash", sa.LargeBinary, nullable=False, comment="SHA-256 of the secret part, which is 256 random bits."
    ),
    sa.Column("created_at", INSTANT, nullable=False),
    sa.Column("created_by", sa.Text, nullable=False),
    sa.Column("expires_at", INSTANT, comment="Null: never."),
    sa.Column("last_used_at", INSTANT, comment="Precise to the minute."),
    sa.Column("revoked_at", INSTANT),
    sa.UniqueConstraint("public_id"),
    sa.CheckConstraint("role IN ('viewer', 'operator', 'admin')", name="role"),
    comment="The API tokens and their roles. Written by admin-api.",
)

sessions = sa.Table(
    "sessions",
    metadata,
    sa.Column(
        "id_hash",
        sa.LargeBinary,
        primary_key=True,
        comment="HMAC of the cookie's value with the bootstrap token as key.",
    ),
    sa.Column(
        "token_id",
        sa.BigInteger,
        sa.ForeignKey(api_tokens.c.id),
        comment="Null: the session was not opened with an API token.",
    ),
    sa.Column("actor_kind", sa.Text, nullable=False),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("role", sa.Text, nullable=False),
    sa.Column("address", sa.Text),
    sa.Column("created_at", INSTANT, nullable=False),
    sa.Column("last_seen_at", INSTANT, nullable=False),
    sa.Column("expires_at", INSTANT, nullable=False, comment="The session ends at this time at the latest."),
    sa.Column("revoked_at", INSTANT),
    sa.Column("subject", sa.Text, comment=SUBJECT),
    sa.CheckConstraint("role IN ('viewer', 'operator', 'admin')", name="role"),
    sa.Index(None, "expires_at"),
    comment="The sessions of browsers, opened with a token. Written by admin-api.",
)

audit_log = sa.Table(
    "audit_log",
    metadata,
    sa.Column("id", sa.BigInteger, sa.Identity(), primary_key=True),
    sa.Column("at", INSTANT, nullable=False),
    sa.Column("actor_kind", sa.Text, nullable=False),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("token_id", sa.BigInteger, comment="No foreign key, because entries outlive their token."),
    sa.Column("address", sa.Text),
    sa.Column("request_id", sa.Text, nullable=False),
    sa.Column("action", sa.Text, nullable=False),
    sa.Column("object_type", sa.Text, nullable=False),
    sa.Column("object_id", sa.Text),
    sa.Column("outcome", sa.Text, nullable=False),
    sa.Column("before", JSONB),
    sa.Column("after", JSONB),
    sa.Column("subject", sa.Text, comment=SUBJECT),
    sa.CheckConstraint("outcome IN ('done', 'refused')", name="outcome"),
    # One index for each filter of the API. The list is ordered by (at, id).
    sa.Index(None, "at", "id"),
    sa.Index(None, "actor", "at", "id"),
    sa.Index(None, "action", "at", "id"),
    sa.Index(None, "object_type", "object_id", "at", "id"),
    sa.Index(None, "request_id", "at", "id"),
    sa.Index("ix_audit_log_refused", "at", "id", postgresql_where=sa.text("outcome = 'refused'")),
    comment="All changes and refused requests. A trigger prevents that rows are changed or deleted. Written by "
    "admin-api in the transaction of the change.",
)
