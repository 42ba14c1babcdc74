"""Rules about requests to exchanges: not above the rate limit, and not before Retry-After ends."""

from collections import defaultdict
from collections.abc import Iterator

from support.faults.evidence import Evidence, Request
from support.faults.violations import Kind, Violation

_REFUSALS_BEFORE_ADOPTION = 3
"""A collector may send this many requests before it receives the refusal of the first one."""


def requests(evidence: Evidence) -> Iterator[Violation]:
    by_exchange: dict[str, list[Request]] = defaultdict(list)
    for request in sorted(evidence.requests, key=lambda each: each.at):
        by_exchange[request.exchange].append(request)
    for exchange, sent in by_exchange.items():
        yield from _over_rate(evidence, exchange, sent)
        for refusal in sent:
            if refusal.retry_after is not None:
                yield from _before_retry_after(evidence, exchange, sent, refusal)


def _over_rate(evidence: Evidence, exchange: str, sent: list[Request]) -> Iterator[Violation]:
    """Counts only answered requests, because aiohttp repeats by itself a request that was cut off."""
    most = evidence.rules.max_per_second.get(exchange, len(sent))
    answered = [each for each in sent if each.status is not None]
    for first, excess in zip(answered, answered[most:], strict=False):
        if excess.at - first.at < 1:
            yield Violation(Kind.OVER_RATE, exchange, f"more than {most} requests in the second from {first.at}")
            return


def _before_retry_after(
    evidence: Evidence, exchange: str, sent: list[Request], refusal: Request
) -> Iterator[Violation]:
    """No collector sends a request before Retry-After ends.

    Exception: if a fault moved the lane to another collector, that one may not know of the refusal. Then it may cause a
    few refusals of its own. A request that succeeds shows that the exchange accepts requests again.
    """
    begin = refusal.answered_at + evidence.rules.in_flight_seconds
    end = refusal.answered_at + (refusal.retry_after or 0)
    too_early = [each for each in sent if begin < each.at < end]
    if handovers := _handovers(evidence, refusal.at, end):
        too_early = [each for each in too_early if each.retry_after is not None][
            _REFUSALS_BEFORE_ADOPTION * handovers :
        ]
    if too_early:
        yield Violation(Kind.BEFORE_RETRY_AFTER, exchange, f"{len(too_early)}, {end - too_early[0].at:.1f} s early")


def _handovers(evidence: Evidence, begin: float, end: float) -> int:
    """The number of faults that may have moved lanes to other collectors between these two times."""
    return sum(
        fault.target.startswith(("collector", "kafka"))
        and fault.at < end
        and begin < (fault.until or fault.at) + evidence.rules.recovery_seconds
        for fault in evidence.history.faults
    )
