"""Decides which refusals get an audit entry of their own, and collects the others for a summary. No I/O."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final, NamedTuple

from admin_api.auth.client_addresses import rate_limit_key
from admin_api.http.request_cost import TokenBuckets
from admin_api.writes.actors import Actor

_KINDS_SHOWN: Final = 50
_MAX_CALLERS: Final = 100
"""The largest number of callers with a summary of their own. Further callers share one summary, so that the number of
entries is bounded.
"""


class RefusalKind(NamedTuple):
    """Refusals of one caller with the same action, status and reason are of the same kind."""

    action: str
    status: int
    reason: str


class RefusalBudget:
    """Limits the audit entries of refusals, so that repeated attempts cannot fill the disk.

    A caller with a known identity has a budget for each kind of refusal. This way, a large number of refusals cannot
    hide the refusals of another caller with the same address, nor the first refusals of another kind. The number of
    kinds is bounded by the routes. Callers without an identity have a budget per address and reason, and one for all
    addresses together.
    """

    def __init__(self) -> None:
        self._of_callers = TokenBuckets(capacity=20, per_minute=4)
        self._of_addresses = TokenBuckets(capacity=60, per_minute=30)
        self._of_all_addresses = TokenBuckets(capacity=600, per_minute=120)

    def allows(self, actor: Actor, kind: RefusalKind, monotonic: float) -> bool:
        """Take one entry from the budget. `monotonic` is the monotonic clock in seconds."""
        if actor.kind != "anonymous":
            return self._of_callers.take(repr((actor.key, kind)), monotonic)
        address = repr((rate_limit_key(actor.address), kind.status, kind.reason))
        return self._of_addresses.take(address, monotonic) and self._of_all_addresses.take("", monotonic)


@dataclass
class LeftOut:
    """The refusals of one caller that got no entry of their own."""

    actor: Actor
    since: datetime
    until: datetime
    kinds: Counter[RefusalKind] = field(default_factory=Counter)

    def content(self) -> Mapping[str, Any]:
        """The field `after` of the summarising entry."""
        shown = self.kinds.most_common(_KINDS_SHOWN)
        return {
            "left_out": self.kinds.total(),
            "since": self.since.isoformat(),
            "until": self.until.isoformat(),
            "kinds": [{**kind._asdict(), "count": count} for kind, count in shown],
        }


class LeftOutRefusals:
    """Counts the refusals without an entry of their own, per caller.

    All callers without an identity are counted as one caller.
    """

    def __init__(self) -> None:
        self._by_caller: dict[str, LeftOut] = {}

    def add(self, actor: Actor, kind: RefusalKind, at: datetime, count: int = 1) -> None:
        key = actor.key
        if key not in self._by_caller and len(self._by_caller) >= _MAX_CALLERS:
            key = "others"
            actor = Actor(kind="anonymous", name="several callers", role=actor.role, request_id=actor.request_id)
        known = self._by_caller.setdefault(key, LeftOut(actor, at, at))
        if known.actor.address != actor.address:
            known.actor = replace(known.actor, address=None)
        known.since, known.until = min(known.since, at), max(known.until, at)
        known.kinds[kind] += count

    def take(self) -> list[LeftOut]:
        """Remove all and return them."""
        taken, self._by_caller = list(self._by_caller.values()), {}
        return taken

    def put_back(self, left_out: LeftOut) -> None:
        """Add the counts again, because their audit entry could not be written."""
        for kind, count in left_out.kinds.items():
            self.add(left_out.actor, kind, left_out.since, count)
            self.add(left_out.actor, kind, left_out.until, 0)
