"""Health checks of a process: liveness (a restart would help if it fails) and readiness (it can do its work).

A check returns None if it passes, else a sentence about the problem. Liveness must not depend on Kafka or Postgres:
restarting this process does not repair them.
"""

import json
from collections.abc import Callable
from typing import Any

from faststream.asgi import AsgiResponse

from runtime.logs import log

Check = Callable[[], str | None]


class Health:
    """The named checks of one process."""

    def __init__(self) -> None:
        self._live: dict[str, Check] = {}
        self._ready: dict[str, Check] = {}

    def liveness(self, name: str, check: Check) -> None:
        """Add or replace a check. If it fails, a restart should help."""
        self._live[name] = check

    def readiness(self, name: str, check: Check) -> None:
        """Add or replace a check. While it fails, the process cannot do its work."""
        self._ready[name] = check

    def live_problems(self) -> dict[str, str]:
        """The problems by check name; empty if the process is live."""
        return _problems(self._live)

    def ready_problems(self) -> dict[str, str]:
        """The problems by check name; empty if the process is ready. A process that is not live is not ready."""
        return _problems(self._live) | _problems(self._ready)

    def routes(self) -> list[tuple[str, Any]]:
        """ASGI routes /health/live and /health/ready: 200, or 503 with the reasons."""
        return [
            ("/health/live", _endpoint("live", self.live_problems)),
            ("/health/ready", _endpoint("ready", self.ready_problems)),
        ]


def health_body(word: str, problems: dict[str, str]) -> tuple[int, bytes]:
    """Status code and JSON body of the response, for any HTTP server."""
    status = 503 if problems else 200
    return status, json.dumps({"status": f"not {word}" if problems else word, "problems": problems}).encode()


def _problems(checks: dict[str, Check]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, check in checks.items():
        try:
            problem = check()
        except Exception as error:  # noqa: BLE001 -- a check that raises counts as failed
            log.exception("A health check raised an error", action="health_check_broken", check=name)
            problem = f"the check raised {error!r}"
        if problem is not None:
            found[name] = problem
    return found


def _endpoint(word: str, problems: Callable[[], dict[str, str]]) -> Any:
    async def respond(scope: Any, receive: Any, send: Any) -> None:
        status, body = health_body(word, problems())
        headers = {"content-type": "application/json", "cache-control": "no-store"}
        await AsgiResponse(body, status, headers)(scope, receive, send)

    return respond
