"""The event stream: the feed from Kafka, the buffer in memory and the open streams."""
