"""Tokens, sessions and the audit log

Revision ID: 0002
Revises: 0001
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "api_tokens",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column(
            "public_id", sa.Text(), nullable=False, comment="The public part of the token, by which its row is found."
        ),
        sa.Column("secret_hash", sa.LargeBinary(), nullable=False, comment="SHA-256 of the secret part, which is 256 random bits."),
        sa.Column("created_at", sa.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("expires_at", sa.TIMESTAMP(timezone=True), nullable=True, comment="Null: never."),
        sa.Column("last_used_at", sa.TIMESTAMP(timezone=True), nullable=True, comment="Precise to the minute."),
        sa.Column("revoked_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.CheckConstraint("role IN ('viewer', 'operator', 'admin')", name=op.f("ck_api_tokens_role")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_tokens")),
        sa.UniqueConstraint("public_id", name=op.f("uq_api_tokens_public_id")),
        comment="The API tokens and their roles. Written by admin-api.",
    )
    op.create_table(
        "sessions",
        sa.Column("id_hash", sa.LargeBinary(), nullable=False, comment="HMAC of the cookie's value with the bootstrap token as key."),
        sa.Column("token_id", sa.BigInteger(), nullable=True, comment="Null: the session was not opened with an API token."),
        sa.Column("actor_kind", sa.Text(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("address", sa.Text(), nullable=True),
        sa.Column("created_at", sa.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("last_seen_at", sa.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("expires_at", sa.TIMESTAMP(timezone=True), nullable=False, comment="The session ends at this time at the latest."),
        sa.Column("revoked_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.CheckConstraint("role IN ('viewer', 'operator', 'admin')", name=op.f("ck_sessions_role")),
        sa.ForeignKeyConstraint(["token_id"], ["api_tokens.id"], name=op.f("fk_sessions_token_id")),
        sa.PrimaryKeyConstraint("id_hash", name=op.f("pk_sessions")),
        comment="The sessions of browsers, opened with a token. Written by admin-api.",
    )
    op.create_index(op.f("ix_sessions_expires_at"), "sessions", ["expires_at"], unique=False)
    op.create_table(
        "audit_log",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("at", sa.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("actor_kind", sa.Text(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("token_id", sa.BigInteger(), nullable=True, comment="No foreign key, because entries outlive their token."),
        sa.Column("address", sa.Text(), nullable=True),
        sa.Column("request_id", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("object_type", sa.Text(), nullable=False),
        sa.Column("object_id", sa.Text(), nullable=True),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("before", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("after", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.CheckConstraint("outcome IN ('done', 'refused')", name=op.f("ck_audit_log_outcome")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_log")),
        comment="All changes and refused requests. A trigger prevents that rows are changed or deleted. Written by admin-api in the transaction of the change.",
    )
    op.create_index(op.f("ix_audit_log_at_id"), "audit_log", ["at", "id"], unique=False)
    op.create_index(op.f("ix_audit_log_actor_at_id"), "audit_log", ["actor", "at", "id"], unique=False)
    op.create_index(op.f("ix_audit_log_action_at_id"), "audit_log", ["action", "at", "id"], unique=False)
    op.create_index(
        op.f("ix_audit_log_object_type_object_id_at_id"),
        "audit_log",
        ["object_type", "object_id", "at", "id"],
        unique=False,
    )
    op.create_index(op.f("ix_audit_log_request_id_at_id"), "audit_log", ["request_id", "at", "id"], unique=False)
    op.create_index(
        "ix_audit_log_refused",
        "audit_log",
        ["at", "id"],
        unique=False,
        postgresql_where=sa.text("outcome = 'refused'"),
    )
    op.execute(
        """
        CREATE FUNCTION audit_log_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            RAISE EXCEPTION 'audit_log is append-only: % is refused', TG_OP USING ERRCODE = 'insufficient_privilege';
        END $$
        """
    )
    op.execute(
        "CREATE TRIGGER audit_log_is_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_log "
        "FOR EACH STATEMENT EXECUTE FUNCTION audit_log_is_append_only()"
    )


def downgrade() -> None:
    op.drop_index("ix_audit_log_refused", table_name="audit_log")
    op.drop_index(op.f("ix_audit_log_request_id_at_id"), table_name="audit_log")
    op.drop_index(op.f("ix_audit_log_object_type_object_id_at_id"), table_name="audit_log")
    op.drop_index(op.f("ix_audit_log_action_at_id"), table_name="audit_log")
    op.drop_index(op.f("ix_audit_log_actor_at_id"), table_name="audit_log")
    op.drop_index(op.f("ix_audit_log_at_id"), table_name="audit_log")
    op.drop_table("audit_log")
    op.drop_index(op.f("ix_sessions_expires_at"), table_name="sessions")
    op.drop_table("sessions")
    op.drop_table("api_tokens")
    op.execute("DROP FUNCTION audit_log_is_append_only")
