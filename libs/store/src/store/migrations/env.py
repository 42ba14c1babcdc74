"""Alembic's entry: always online, on the connection that `store.migrate` hands over.

Each migration is a transaction of its own, so that no lock outlives the migration that took it.
"""

from alembic import context

from store.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    compare_type=True,
    transaction_per_migration=True,
)
with context.begin_transaction():
    context.run_migrations()
