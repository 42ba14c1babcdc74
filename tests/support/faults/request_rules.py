"""Rules about what exchanges are asked: not too often, and not during a pause that they asked for."""

from collections import defaultdict
from collections.abc import Iterator

from support.faults.evidence import Evidence, Request
from support.faults.violations import Kind, Violation

_LEARNING = 3
"""So many requests a collector makes before the refusal of the first one reaches it."""


def requests(evidence: Evidence) -> Iterator[Violation]:
    by_exchange: dict[str, list[Request]] = defaultdict(list)
    for request in sorted(evidence.requests, key=lambda each: each.at):
        by_exchange[request.exchange].append(request)
    for exchange, asked in by_exchange.items():
        yield from _over_rate(evidence, exchange, asked)
        for refusal in asked:
            if refusal.retry_after is not None:
                yield from _impatient(evidence, exchange, asked, refusal)


def _over_rate(evidence: Evidence, exchange: str, asked: list[Request]) -> Iterator[Violation]:
    """Of requests that were answered: one that was cut before, aiohttp sends once more by itself."""
    most = evidence.rules.most_per_second.get(exchange, len(asked))
    answered = [each for each in asked if each.status is not None]
    for first, one_too_many in zip(answered, answered[most:], strict=False):
        if one_too_many.at - first.at < 1:
            yield Violation(Kind.OVER_RATE, exchange, f"more than {most} requests in the second from {first.at}")
            return


def _impatient(evidence: Evidence, exchange: str, asked: list[Request], refusal: Request) -> Iterator[Violation]:
    """Nobody asks during the pause. But a collector that was given the lane meanwhile, by a fault, has not heard of it:
    what counts then is that it learns from the first refusals. An exchange that answers it well has ended the pause.
    """
    begin = refusal.answered_at + evidence.rules.in_flight
    end = refusal.answered_at + (refusal.retry_after or 0)
    too_soon = [each for each in asked if begin < each.at < end]
    if handovers := _handovers(evidence, refusal.at, end):
        too_soon = [each for each in too_soon if each.retry_after is not None][_LEARNING * handovers :]
    if too_soon:
        yield Violation(Kind.BEFORE_RETRY_AFTER, exchange, f"{len(too_soon)}, {end - too_soon[0].at:.1f} s early")


def _handovers(evidence: Evidence, begin: float, end: float) -> int:
    """Faults that may have given lanes to other collectors between these two instants."""
    return sum(
        fault.target.startswith(("collector", "kafka"))
        and fault.at < end
        and begin < (fault.until or fault.at) + evidence.rules.heals_within
        for fault in evidence.history.faults
    )
