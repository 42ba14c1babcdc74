"""The module that Alembic runs for each upgrade, on the connection that `store.migrate` passes.

Each migration has its own transaction, so that its locks are released when it ends.
"""

from alembic import context

from store.statistics_tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    compare_type=True,
    transaction_per_migration=True,
)
with context.begin_transaction():
    context.run_migrations()
