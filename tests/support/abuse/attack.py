"""The parts of each attack: its target, its counts, and how often it runs."""

import json
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import httpx

API_PATH = "/api/v1/admin/data-collection"
_TIMEOUT_SECONDS = 30.0


@dataclass(frozen=True, kw_only=True)
class Target:
    """The addresses of the attacked system, and the credentials that the attackers have."""

    api_url: str
    viewer: str = field(repr=False)
    operator: str = field(repr=False)
    admin: str = field(repr=False)
    """Tokens by role. The one of the admin sends faulty files and opens sessions."""
    spare_ids: list[int]
    """Enabled configs that attacks may change."""
    simulator_url: str
    kafka: str
    topic_prefix: str
    databases: Mapping[str, str]
    """The addresses that the services use for the database, by service."""

    def client(self, token: str | None) -> httpx.AsyncClient:
        """A client without a limit of its own on connections."""
        headers = {"Authorization": f"Bearer {token}"} if token is not None else {}
        return httpx.AsyncClient(
            base_url=f"{self.api_url}{API_PATH}",
            headers=headers,
            timeout=_TIMEOUT_SECONDS,
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=0),
            verify=False,  # plain HTTP; this saves the time to load certificates
        )

    def to_json(self) -> str:
        return json.dumps(asdict(self))


@dataclass
class Counts:
    """The requests of one attack. An answer is a status code, or a word for the end of a request without one."""

    sent: int = 0
    answers: Counter[str] = field(default_factory=Counter)
    secrets: set[str] = field(default_factory=set)
    """Credentials that the attack received. No log may contain them."""
    request_ids: list[str] = field(default_factory=list)
    """Ids of requests that the log must contain."""
    notes: dict[str, str] = field(default_factory=dict)
    """Values for the next round."""

    async def request(self, client: httpx.AsyncClient, method: str, path: str, **options: Any) -> httpx.Response | None:
        """Send a request and count its answer. None if there was none."""
        self.sent += 1
        try:
            response = await client.request(method, path, **options)
        except httpx.HTTPError as error:
            self.answers[type(error).__name__] += 1
            return None
        self.answers[answer_of(response.status_code, response.headers)] += 1
        return response


def answer_of(status: int, headers: Mapping[str, str]) -> str:
    """A refusal because of load must say when to try again."""
    if status in {429, 503} and "retry-after" not in headers:
        return f"{status} without Retry-After"
    return str(status)


Round = Callable[[Target, Counts], Awaitable[None]]


@dataclass(frozen=True, kw_only=True)
class Attack:
    """`run` is one round. Rounds start every `every` seconds, or later if a round takes longer."""

    run: Round
    caller: str
    every: float
    allowed: frozenset[str]
    """Answers that show that the system is not harmed."""

    @property
    def name(self) -> str:
        return self.run.__name__
