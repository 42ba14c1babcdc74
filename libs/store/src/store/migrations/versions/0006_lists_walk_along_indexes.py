"""Lists and reports of the run log walk along indexes, whatever the filters

Revision ID: 0006
Revises: 0005
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

LOGS = "job_execution_logs"


def upgrade() -> None:
    _replace("symbol", ["symbol", "started_at", "id", "exchange", "status"])
    _replace("exchange", ["exchange", "started_at", "id", "status"])
    _replace("job_name", ["job_name", "started_at", "id", "status"])
    _replace(
        "job_type",
        ["job_type", "started_at", "id"],
        include=["exchange", "symbol", "status", "records_collected", "duration_seconds"],
    )
    op.create_index(
        "ix_job_execution_logs_exchange_unsuccessful",
        LOGS,
        ["exchange", "status", "started_at", "id"],
        unique=False,
        postgresql_where=sa.text("status IN ('failed', 'skipped')"),
    )
    for column in ("symbol", "exchange", "created_at", "updated_at"):
        op.create_index(
            op.f(f"ix_data_collection_configs_{column}_id"), "data_collection_configs", [column, "id"], unique=False
        )


def downgrade() -> None:
    for column in ("updated_at", "created_at", "exchange", "symbol"):
        op.drop_index(op.f(f"ix_data_collection_configs_{column}_id"), table_name="data_collection_configs")
    op.drop_index("ix_job_execution_logs_exchange_unsuccessful", table_name=LOGS)
    for column in ("job_type", "job_name", "exchange", "symbol"):
        op.drop_index(f"ix_job_execution_logs_{column}", table_name=LOGS)
        op.create_index(
            op.f(f"ix_job_execution_logs_{column}_started_at_id"), LOGS, [column, "started_at", "id"], unique=False
        )


def _replace(column: str, keys: list[str], include: list[str] | None = None) -> None:
    op.drop_index(op.f(f"ix_job_execution_logs_{column}_started_at_id"), table_name=LOGS)
    op.create_index(f"ix_job_execution_logs_{column}", LOGS, keys, unique=False, postgresql_include=include or [])
