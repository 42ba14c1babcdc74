"""Options for a whole system in a test: it shares the Kafka of the run, with its own topic prefix and database.

Each service connects to the database with its own role.
"""

import uuid
from pathlib import Path

from local_stack.keeper import KeptKafka
from local_stack.stack import StackOptions
from support.shared_services import SharedServices

EVERY_SERVICE = {
    "KAFKA_SESSION_TIMEOUT_MS": "6000",
    "LOG_FORMAT": "console",
    "TRIGGERS_PER_MINUTE": "6000",
}


def system_options(
    kafka: KeptKafka,
    database_url: str | None,
    folder: Path,
    *,
    simulator_arguments: tuple[str, ...] = (),
) -> StackOptions:
    return StackOptions(
        folder=folder,
        kafka=kafka.existing,
        database_logins=None if database_url is None else SharedServices.of_this_run().database_logins(),
        topic_prefix=f"system-{uuid.uuid4().hex[:8]}.",
        database_url=database_url,
        simulator_arguments=simulator_arguments,
        overrides={"*": EVERY_SERVICE},
    )
