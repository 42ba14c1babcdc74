"""The unit of work: transactions, the outbox, the audit log and idempotency keys."""
