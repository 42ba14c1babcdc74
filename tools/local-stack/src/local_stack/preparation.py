"""The preparation before services start. Each step runs as a command of the responsible module."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass

from contracts.topics import ALL_TOPICS
from local_stack.database_logins import DatabaseLogins
from local_stack.errors import StackError
from local_stack.folder import Folder
from local_stack.kafka_provider import Kafka, command_memory_kafka
from local_stack.processes import Command, run_to_end


@dataclass(frozen=True)
class Preparation:
    """`environment` is the environment of every command. The addresses are added to it."""

    folder: Folder
    environment: Mapping[str, str]

    async def make_database_roles(self, database_url: str, logins: DatabaseLogins) -> None:
        """Make the roles as the superuser, whose URL this is."""
        await self._run("roles", ("store", "roles"), {"DATABASE_URL": database_url, **logins.environment()})

    async def migrate(self, database_url: str, role_prefix: str) -> None:
        addresses = {"DATABASE_URL": database_url, "DATABASE_ROLE_PREFIX": role_prefix}
        await self._run("migrate", ("store", "upgrade"), addresses)

    async def provision_topics(self, kafka: Kafka, prefix: str) -> None:
        if kafka.control is not None:  # at its start, it creates the topics without a prefix
            lines = [f"create {prefix}{topic.name} {topic.partitions}" for topic in ALL_TOPICS if prefix]
            await command_memory_kafka(kafka.control, lines)
            return
        named = {"KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap, "KAFKA_TOPIC_PREFIX": prefix}
        await self._run("topics", ("runtime.kafka.topics", "provision"), named)

    async def publish_configs_again(self, database_url: str) -> None:
        """Put all configs into the outbox. A running admin-api publishes them."""
        await self._run("resync", ("admin_api", "resync"), {"DATABASE_URL": database_url})

    async def _run(self, name: str, module: tuple[str, ...], addresses: Mapping[str, str]) -> None:
        argv = (sys.executable, "-m", *module)
        command = Command(name=name, argv=argv, env={**self.environment, "LOG_FORMAT": "console", **addresses})
        log_file = self.folder.logs / f"{name}.log"
        log_file.unlink(missing_ok=True)
        child = await run_to_end(command, log_file=log_file, pid_file=self.folder.run / f"{name}.pid")
        if child.exit_code != 0:
            message = " ".join(child.last_lines(2))
            raise StackError(f"`python -m {' '.join(module)}` failed: {message} (log: {log_file})")
