"""The state of the other services, as Kafka sees their consumer groups."""
