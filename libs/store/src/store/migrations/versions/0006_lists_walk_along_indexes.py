"""Indexes for every filter of the lists and reports of the run log

Revision ID: 0006
Revises: 0005
"""

import sqlalchemy as sa

from store.online_indexes import create_index, drop_index

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

LOGS = "job_execution_logs"
CONFIGS = "data_collection_configs"
UNSUCCESSFUL = "ix_job_execution_logs_exchange_unsuccessful"
REPLACED = ("symbol", "exchange", "job_name", "job_type")
CONFIG_ORDERS = ("symbol", "exchange", "created_at", "updated_at")


def upgrade() -> None:
    """Drops the old indexes last, because the lists of the previous release use them until then."""
    create_index("ix_job_execution_logs_symbol", LOGS, ["symbol", "started_at", "id", "exchange", "status"])
    create_index("ix_job_execution_logs_exchange", LOGS, ["exchange", "started_at", "id", "status"])
    create_index("ix_job_execution_logs_job_name", LOGS, ["job_name", "started_at", "id", "status"])
    create_index(
        "ix_job_execution_logs_job_type",
        LOGS,
        ["job_type", "started_at", "id"],
        postgresql_include=["exchange", "symbol", "status", "records_collected", "duration_seconds"],
    )
    create_index(
        UNSUCCESSFUL,
        LOGS,
        ["exchange", "status", "started_at", "id"],
        postgresql_where=sa.text("status IN ('failed', 'skipped')"),
    )
    for column in CONFIG_ORDERS:
        create_index(f"ix_data_collection_configs_{column}_id", CONFIGS, [column, "id"])
    for column in REPLACED:
        drop_index(f"ix_job_execution_logs_{column}_started_at_id", LOGS)


def downgrade() -> None:
    for column in REPLACED:
        create_index(f"ix_job_execution_logs_{column}_started_at_id", LOGS, [column, "started_at", "id"])
    for column in CONFIG_ORDERS:
        drop_index(f"ix_data_collection_configs_{column}_id", CONFIGS)
    drop_index(UNSUCCESSFUL, LOGS)
    for column in REPLACED:
        drop_index(f"ix_job_execution_logs_{column}", LOGS)
