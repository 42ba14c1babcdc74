"""The relay: it publishes the outbox to Kafka."""
