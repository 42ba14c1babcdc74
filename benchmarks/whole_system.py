"""Runs the system, or a part of it, as separate processes in a temporary folder."""

import contextlib
import shutil
import tempfile
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from local_stack.plan import SERVICES, Role
from local_stack.stack import Stack, StackOptions, running_stack


@contextlib.asynccontextmanager
async def running_system(roles: tuple[Role, ...] = SERVICES) -> AsyncIterator[Stack]:
    """A ready system with the simulated exchanges. It uses Kafka and Postgres of the environment, or starts its own."""
    with _folder() as folder:
        prefix = f"bench-{uuid.uuid4().hex[:6]}."
        unlimited = {"admin-api": {"TRIGGERS_PER_MINUTE": "1000000", "REQUESTS_PER_MINUTE": "1000000"}}
        options = StackOptions(folder=folder, roles=roles, topic_prefix=prefix, overrides=unlimited)
        async with running_stack(options) as stack:
            if not stack.processes["kafka"].running.is_real:
                # A long poll of the in-memory Kafka does not return when messages arrive.
                raise RuntimeError("this benchmark needs a real Kafka: install Java and Maven")
            yield stack


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="candlekeep-bench-"))
    folder.chmod(0o711)  # Postgres runs as an unprivileged user and has its data inside
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
