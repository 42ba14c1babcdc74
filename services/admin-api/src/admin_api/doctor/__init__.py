"""`python -m admin_api doctor`: checks Kafka and Postgres of a deployment, and says what to do.

`results.py` defines a result. `judging.py` and `space.py` decide without I/O. `kafka.py`, `kafka_brokers.py` and
`database.py` read the facts. `command.py` runs all checks and prints the results. `candlekeep doctor` checks the API,
and adds these checks where it finds this package.
"""
