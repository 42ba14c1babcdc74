"""python -m support.abuse SECONDS [NAME ...]    all attacks at once, or the named ones

Reads the target as JSON from stdin, so that no token is in an argument. Prints the counts as JSON.
"""

import asyncio
import contextlib
import json
import sys
import time

import asyncpg
from aiokafka.errors import KafkaError

from support.abuse.attack import Attack, Counts, Target
from support.abuse.catalogue import ATTACKS

_LAST_ROUND_SECONDS = 30.0


async def run(target: Target, attacks: list[Attack], seconds: float) -> dict[str, Counts]:
    """All attacks at once. A round that has begun at the end has some more seconds for its answers."""
    counts_by_name = {attack.name: Counts() for attack in attacks}
    ends_at = time.monotonic() + seconds
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds + _LAST_ROUND_SECONDS), asyncio.TaskGroup() as running:
            for attack in attacks:
                running.create_task(_rounds(attack, target, counts_by_name[attack.name], ends_at))
    return counts_by_name


async def _rounds(attack: Attack, target: Target, counts: Counts, ends_at: float) -> None:
    while True:
        began = time.monotonic()
        try:
            await attack.run(target, counts)
        except (OSError, TimeoutError, asyncpg.PostgresError, KafkaError) as error:
            counts.answers[type(error).__name__] += 1
        next_at = max(time.monotonic(), began + attack.every)
        if next_at >= ends_at:
            return
        await asyncio.sleep(next_at - time.monotonic())


def main() -> None:
    seconds, names = float(sys.argv[1]), sys.argv[2:]
    attacks = [attack for attack in ATTACKS if not names or attack.name in names]
    counts_by_name = asyncio.run(run(Target(**json.load(sys.stdin)), attacks, seconds))
    found = {
        name: {
            "sent": counts.sent,
            "answers": dict(counts.answers),
            "secrets": sorted(counts.secrets),
            "request_ids": counts.request_ids,
        }
        for name, counts in counts_by_name.items()
    }
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
