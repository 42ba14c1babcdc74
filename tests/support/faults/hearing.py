"""What schedulers have heard of, by what they said of it in schedule-state."""

import math
from collections import defaultdict

from contracts.schedule import JobScheduled
from contracts.topics import SCHEDULE_STATE
from local_stack.stack import Stack
from runtime.kafka.codec import UnreadableMessage, decode
from support.faults.records import read_records


async def read_heard(stack: Stack) -> dict[int, list[tuple[float, float]]]:
    """By config: (when it was said, the version that was held); infinity for a config that was forgotten."""
    heard: dict[int, list[tuple[float, float]]] = defaultdict(list)
    for record in await read_records(stack, SCHEDULE_STATE):
        if record.value is None:
            heard[int(record.key)].append((record.timestamp / 1000, math.inf))
            continue
        try:
            state = decode(SCHEDULE_STATE, record.value)
        except UnreadableMessage:
            continue
        if isinstance(state, JobScheduled):
            heard[state.config_id].append((state.occurred_at.timestamp(), state.config_version))
    return dict(heard)
