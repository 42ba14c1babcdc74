"""The trigger of the audit log always fires, and its owner may remove old entries

An ordinary trigger does not fire in a session with session_replication_role = replica, which restores and logical
replication set. The owner of the table may delete rows if the transaction says so: `python -m store trim-audit-log`
does this. Roles of services have no right to delete rows of this table.

Revision ID: 0011
Revises: 0010
"""

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

REFUSE_ALL = """
    CREATE OR REPLACE FUNCTION audit_log_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        RAISE EXCEPTION 'audit_log is append-only: % is refused', TG_OP USING ERRCODE = 'insufficient_privilege';
    END $$
"""

# The names are qualified. Otherwise Postgres would find a temporary table named pg_class before its own one.
REFUSE_UNLESS_TRIMMED = """
    CREATE OR REPLACE FUNCTION audit_log_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF TG_OP = 'DELETE'
            AND pg_catalog.current_setting('candlekeep.trim_audit_log', true) = 'on'
            AND pg_catalog.pg_has_role(
                current_user, (SELECT relowner FROM pg_catalog.pg_class WHERE oid = TG_RELID), 'USAGE')
        THEN
            RETURN NULL;
        END IF;
        RAISE EXCEPTION 'audit_log is append-only: % is refused', TG_OP USING ERRCODE = 'insufficient_privilege';
    END $$
"""


def upgrade() -> None:
    op.execute(REFUSE_UNLESS_TRIMMED)
    op.execute("ALTER TABLE audit_log ENABLE ALWAYS TRIGGER audit_log_is_append_only")


def downgrade() -> None:
    op.execute("ALTER TABLE audit_log ENABLE TRIGGER audit_log_is_append_only")
    op.execute(REFUSE_ALL)
