"""Runs one Kafka or one Postgres for the tests: in a container if that is possible or wanted, otherwise natively.

CANDLEKEEP_TEST_INFRASTRUCTURE chooses:

- `auto`: in a container if a Docker engine of this machine answers and the image is there or can be pulled quickly.
- `containers`: in a container. The tests fail if that is not possible.
- `native`: as the local stack does it, with processes of this machine.

KAFKA_IMAGE and POSTGRES_IMAGE name other images than those of deploy/compose.yaml.
"""

import asyncio
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from enum import StrEnum
from pathlib import Path

from local_stack.errors import StackError
from local_stack.keeper import Service, Started, main, start_natively
from support.containers import ContainersUnavailable, Engine, image_of, start_container

SETTING = "CANDLEKEEP_TEST_INFRASTRUCTURE"
QUICK_PULL_SECONDS = 60.0
PULL_SECONDS = 600.0
CHOSEN_BY = {
    "kafka": ("KAFKA_BOOTSTRAP_SERVERS", "CANDLEKEEP_KAFKA"),
    "postgres": ("DATABASE_URL", "CANDLEKEEP_POSTGRES"),
}
"""Settings of the local stack that name a service of their own. CANDLEKEEP_KAFKA=real is true for a container, too."""


class Infrastructure(StrEnum):
    AUTO = "auto"
    CONTAINERS = "containers"
    NATIVE = "native"


def infrastructure(environment: Mapping[str, str]) -> Infrastructure:
    wanted = environment.get(SETTING) or Infrastructure.AUTO
    if wanted not in set(Infrastructure):
        raise StackError(f"{SETTING} is {wanted!r}; it may be {', '.join(Infrastructure)}")
    return Infrastructure(wanted)


def reason_for_native(
    what: Service, environment: Mapping[str, str], connect: Callable[[Mapping[str, str]], Engine] = Engine.connect
) -> str | None:
    """Why the service runs natively; None if it runs in a container. Raises StackError if it must and cannot."""
    chosen = infrastructure(environment)
    if chosen is Infrastructure.NATIVE:
        return f"{SETTING} is native"
    for name in CHOSEN_BY[what]:
        if environment.get(name) not in {None, "", "auto", "real"}:
            return f"{name} is set"
    try:
        seconds = QUICK_PULL_SECONDS if chosen is Infrastructure.AUTO else PULL_SECONDS
        connect(environment).provide(image_of(what, environment), seconds)
    except ContainersUnavailable as error:
        if chosen is Infrastructure.CONTAINERS:
            raise StackError(f"{SETTING} is containers, but {error}") from None
        return str(error)
    return None


async def start(what: Service, folder: Path) -> Started:
    reason = await asyncio.to_thread(reason_for_native, what, os.environ)
    if reason is None:
        return await start_container(what, os.environ)
    kept, stop = await start_natively(what, folder)
    return replace(kept, description=f"{kept.description}; natively, because {reason}"), stop


if __name__ == "__main__":
    main(start)
