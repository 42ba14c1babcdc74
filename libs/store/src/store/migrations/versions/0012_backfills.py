"""Backfills, their chunks, and the start date of configs

Revision ID: 0012
Revises: 0011
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "data_collection_configs",
        sa.Column(
            "start_date",
            sa.Text(),
            nullable=True,
            comment="The day (YYYY-MM-DD, UTC) from which the history is kept complete, or listing. Null: from the "
            "first run.",
        ),
    )
    op.create_table('backfills',
    sa.Column('id', sa.BigInteger(), sa.Identity(always=False), nullable=False),
    sa.Column('selector', postgresql.JSONB(astext_type=sa.Text()), nullable=False, comment='The selection of configs or series, as it was requested.'),
    sa.Column('starts_at', sa.TIMESTAMP(timezone=True), nullable=True, comment='Null: the listing of each symbol.'),
    sa.Column('ends_at', sa.TIMESTAMP(timezone=True), nullable=False),
    sa.Column('mode', sa.Text(), nullable=False, comment='missing: the time that is not verified. all: the whole range.'),
    sa.Column('state', sa.Text(), server_default='active', nullable=False),
    sa.Column('description', sa.Text(), nullable=True),
    sa.Column('created_by', sa.Text(), nullable=False),
    sa.Column('created_at', sa.TIMESTAMP(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.Column('updated_at', sa.TIMESTAMP(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.Column('version', sa.BigInteger(), server_default='1', nullable=False),
    sa.CheckConstraint("mode IN ('missing', 'all')", name=op.f('ck_backfills_mode')),
    sa.CheckConstraint("state IN ('active', 'paused', 'cancelled')", name=op.f('ck_backfills_state')),
    sa.CheckConstraint('starts_at < ends_at', name=op.f('ck_backfills_span')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_backfills')),
    comment='The backfills that people requested. Written by admin-api.'
    )
    op.create_table('backfill_series',
    sa.Column('backfill_id', sa.BigInteger(), nullable=False),
    sa.Column('exchange', sa.Text(), nullable=False),
    sa.Column('symbol', sa.Text(), nullable=False),
    sa.Column('timeframe', sa.Text(), nullable=False),
    sa.Column('config_id', sa.BigInteger(), nullable=False, comment='No foreign key: a backfill outlives its config.'),
    sa.ForeignKeyConstraint(['backfill_id'], ['backfills.id'], name=op.f('fk_backfill_series_backfill_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('backfill_id', 'exchange', 'symbol', 'timeframe', name=op.f('pk_backfill_series')),
    comment='The series of each backfill, found when it was created. Written by admin-api.'
    )
    op.create_index(op.f('ix_backfill_series_exchange_symbol_timeframe'), 'backfill_series', ['exchange', 'symbol', 'timeframe'], unique=False)
    op.create_table('series_plans',
    sa.Column('series_id', sa.Integer(), autoincrement=False, nullable=False),
    sa.Column('planned_at', sa.TIMESTAMP(timezone=True), nullable=True, comment='When the holes of the series were last compared with its chunks.'),
    sa.Column('next_plan_at', sa.TIMESTAMP(timezone=True), nullable=False, comment='A backfiller plans the series at this time or later.'),
    sa.ForeignKeyConstraint(['series_id'], ['series.id'], name=op.f('fk_series_plans_series_id')),
    sa.PrimaryKeyConstraint('series_id', name=op.f('pk_series_plans')),
    comment='The plan of each series. A backfiller locks the row while it plans the series. Written by backfiller.'
    )
    op.create_index(op.f('ix_series_plans_next_plan_at'), 'series_plans', ['next_plan_at'], unique=False)
    op.create_table('backfill_chunks',
    sa.Column('id', sa.BigInteger(), sa.Identity(always=False), nullable=False),
    sa.Column('series_id', sa.Integer(), nullable=False),
    sa.Column('config_id', sa.BigInteger(), nullable=False, comment='No foreign key: a chunk outlives its config.'),
    sa.Column('exchange', sa.Text(), nullable=False),
    sa.Column('lane', sa.Text(), nullable=True, comment='The lane of the latest attempt.'),
    sa.Column('purpose', sa.Text(), nullable=False),
    sa.Column('backfill_id', sa.BigInteger(), nullable=True, comment='Null: for the start date of the config, or for a hole.'),
    sa.Column('starts_at', sa.TIMESTAMP(timezone=True), nullable=False, comment='Later than at first if the older part was verified.'),
    sa.Column('ends_at', sa.TIMESTAMP(timezone=True), nullable=False),
    sa.Column('state', sa.Text(), server_default='waiting', nullable=False),
    sa.Column('attempts', sa.Integer(), server_default='0', nullable=False, comment='The attempts that have ended.'),
    sa.Column('retries', sa.Integer(), server_default='0', nullable=False, comment='The attempts since the last one that verified a part of the chunk.'),
    sa.Column('next_attempt_at', sa.TIMESTAMP(timezone=True), nullable=False, comment='A waiting chunk is requested then, or later.'),
    sa.Column('loss_at', sa.TIMESTAMP(timezone=True), nullable=True, comment='When the exchange stops offering its oldest candle. Null: unknown.'),
    sa.Column('run_id', sa.UUID(), nullable=True, comment='The run of the latest attempt.'),
    sa.Column('claimed_until', sa.TIMESTAMP(timezone=True), nullable=True, comment='A backfiller publishes the request until then. Null: none does. If it is past, the backfiller has probably crashed, and another one publishes the same request.'),
    sa.Column('requested_at', sa.TIMESTAMP(timezone=True), nullable=True, comment='When the latest attempt was published.'),
    sa.Column('answered_at', sa.TIMESTAMP(timezone=True), nullable=True, comment='When the run of the latest attempt ended. The chunk then waits for its candles in the ledger. Null: the run has not ended, or the chunk does not wait for the ledger.'),
    sa.Column('deadline_at', sa.TIMESTAMP(timezone=True), nullable=True, comment='The wait for the run or for the ledger ends at this time.'),
    sa.Column('reason', sa.Text(), nullable=True, comment='The result of the latest attempt, or what the chunk waits for, in words.'),
    sa.Column('error_class', sa.Text(), nullable=True, comment='The error class of the latest attempt. Null: it succeeded.'),
    sa.Column('created_at', sa.TIMESTAMP(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.Column('ended_at', sa.TIMESTAMP(timezone=True), nullable=True, comment='When it became verified, classified, or cancelled.'),
    sa.CheckConstraint("state IN ('waiting', 'requested', 'verified', 'classified', 'failed', 'cancelled')", name=op.f('ck_backfill_chunks_state')),
    sa.CheckConstraint('starts_at < ends_at', name=op.f('ck_backfill_chunks_span')),
    sa.ForeignKeyConstraint(['series_id'], ['series.id'], name=op.f('fk_backfill_chunks_series_id')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_backfill_chunks')),
    comment='The spans that are requested from the exchanges, one run each. Written by backfiller.'
    )
    op.create_index(op.f('ix_backfill_chunks_backfill_id_id'), 'backfill_chunks', ['backfill_id', 'id'], unique=False)
    op.create_index(op.f('ix_backfill_chunks_series_id_backfill_id'), 'backfill_chunks', ['series_id', 'backfill_id'], unique=False, postgresql_where=sa.text('backfill_id IS NOT NULL'))
    op.create_index('ix_backfill_chunks_claimed', 'backfill_chunks', ['claimed_until'], unique=False, postgresql_where=sa.text('claimed_until IS NOT NULL'))
    op.create_index('ix_backfill_chunks_open', 'backfill_chunks', ['series_id', 'starts_at'], unique=False, postgresql_where=sa.text("state IN ('waiting', 'requested', 'failed')"))
    op.create_index('ix_backfill_chunks_requested', 'backfill_chunks', ['deadline_at'], unique=False, postgresql_where=sa.text("state = 'requested'"))
    op.create_index('ix_backfill_chunks_waiting', 'backfill_chunks', ['exchange', 'loss_at', sa.literal_column('starts_at DESC')], unique=False, postgresql_where=sa.text("state IN ('waiting', 'failed') AND claimed_until IS NULL AND retries = 0"))
    op.create_index('ix_backfill_chunks_retries', 'backfill_chunks', ['exchange', 'next_attempt_at'], unique=False, postgresql_where=sa.text("state IN ('waiting', 'failed') AND claimed_until IS NULL AND retries > 0"))
    op.create_index('uq_backfill_chunks_run_id', 'backfill_chunks', ['run_id'], unique=True)
    op.create_table('lane_pauses',
    sa.Column('lane', sa.Text(), nullable=False, comment='The exchange id, plus #n if it has several lanes.'),
    sa.Column('paused_until', sa.TIMESTAMP(timezone=True), nullable=False, comment='No chunk of the lane is requested before this time.'),
    sa.Column('reason', sa.Text(), nullable=False),
    sa.Column('reported_at', sa.TIMESTAMP(timezone=True), nullable=False, comment='When a collector reported the state of the exchange.'),
    sa.PrimaryKeyConstraint('lane', name=op.f('pk_lane_pauses')),
    comment='The exchanges that are throttled, banned or unreachable. Written by backfiller.'
    )


def downgrade() -> None:
    for table in ("lane_pauses", "backfill_chunks", "series_plans", "backfill_series", "backfills"):
        op.drop_table(table)
    op.drop_column("data_collection_configs", "start_date")
