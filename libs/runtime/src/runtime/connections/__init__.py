"""TLS and credentials of the connections to Kafka and Postgres: their settings, and the contexts made from them."""
