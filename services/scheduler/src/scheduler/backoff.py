"""How long to wait before Kafka is asked again."""

import random
from collections.abc import Iterator

_FIRST_SECONDS = 0.2


def pauses(longest: float) -> Iterator[float]:
    """Endless: doubling up to `longest` seconds, each shortened by up to half so that many do not retry in step."""
    pause = min(_FIRST_SECONDS, longest)
    while True:
        yield pause * random.uniform(0.5, 1)  # noqa: S311 -- jitter, not a secret
        pause = min(pause * 2, longest)
