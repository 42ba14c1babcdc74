"""Which versions of configs the schedulers have received, according to `schedule-state`."""

import math
from collections import defaultdict

from contracts.schedule import JobScheduled
from contracts.topics import SCHEDULE_STATE
from local_stack.stack import Stack
from runtime.kafka.codec import UnreadableMessage, decode
from support.faults.topic_records import read_records


async def read_scheduler_reports(stack: Stack) -> dict[int, list[tuple[float, float]]]:
    """By config: (time of the report, version); infinity is a deleted config."""
    reports: dict[int, list[tuple[float, float]]] = defaultdict(list)
    for record in await read_records(stack, SCHEDULE_STATE):
        if record.value is None:
            reports[int(record.key)].append((record.timestamp / 1000, math.inf))
            continue
        try:
            state = decode(SCHEDULE_STATE, record.value)
        except UnreadableMessage:
            continue
        if isinstance(state, JobScheduled):
            reports[state.config_id].append((state.occurred_at.timestamp(), state.config_version))
    return dict(reports)
