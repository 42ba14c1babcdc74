"""`candlekeep doctor`: checks a deployment as its clients see it, one line per check.

The API's own checks of Kafka and Postgres are added if its package and both addresses are here, as in its image.
"""

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Annotated, Any, Final
from urllib.parse import urlsplit

import typer

from command_line.client import Api
from command_line.context import api_of
from command_line.failures import CommandFailed
from command_line.output import AsJson, print_json, print_lines
from command_line.waiting import wait_for_run

Check = dict[str, Any]
"""`name`, `state` (ok, warning or failed), `found` and `advice`: the same as from `python -m admin_api doctor`."""

_CLOCK_WARNING: Final = timedelta(seconds=2)
_CLOCK_FAILURE: Final = timedelta(seconds=5)
_DATE_PRECISION: Final = timedelta(seconds=1)
_LOCAL: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_NEEDED: Final = ("KAFKA_BOOTSTRAP_SERVERS", "DATABASE_URL")
_FETCH_SECONDS: Final = 150.0


def check(name: str, state: str, found: str, advice: str | None = None) -> Check:
    return {"name": name, "state": state, "found": found, "advice": advice}


def doctor(
    context: typer.Context,
    fetch: Annotated[
        bool, typer.Option("--fetch", help="Also run one config of each exchange, and wait for its candles.")
    ] = False,
    *,
    as_json: AsJson = False,
) -> None:
    """Check a deployment and say what to do. Exit code 1 if a check failed; warnings do not count."""
    api = api_of(context)
    checks = api_checks(api)
    if fetch and checks[0]["state"] == "ok":
        checks += fetch_checks(api)
    checks += own_checks(os.environ)
    if as_json:
        print_json(checks)
    else:
        print_lines(lines_of(checks))
    raise typer.Exit(int(any(each["state"] == "failed" for each in checks)))


def api_checks(api: Api) -> list[Check]:
    """The address, TLS, the token, the clock, and the services. If the API does not answer, only the first."""
    url = str(api.http.base_url)
    before = datetime.now(UTC)
    try:
        response = api.request("GET", "/status")
    except CommandFailed as error:
        advice = "Check CANDLEKEEP_URL and CANDLEKEEP_TOKEN, and read the log of admin-api."
        return [check("API", "failed", str(error), advice)]
    after = datetime.now(UTC)
    return [
        check("API", "ok", f"{url} answers and accepts the token"),
        tls_check(url),
        clock_check(response.headers.get("Date"), before, after),
        *(service_check(each) for each in api.get("/services")),
    ]


def tls_check(url: str) -> Check:
    address = urlsplit(url)
    if address.scheme == "https":
        return check("TLS to the API", "ok", "the certificate is valid")
    if address.hostname in _LOCAL:
        return check("TLS to the API", "ok", "not used, on this machine")
    advice = "The token can be read on the way. Put a proxy with TLS in front of the API, and use https://."
    return check("TLS to the API", "warning", f"{url} is not encrypted", advice)


def clock_check(date: str | None, before: datetime, after: datetime) -> Check:
    """`date`: the header of a response that was requested between `before` and `after`. It has whole seconds."""
    name = "clock of the API"
    if date is None:
        return check(name, "warning", "the response has no date", "A proxy has removed the header Date.")
    theirs = parsedate_to_datetime(date)
    ahead = max(theirs - after, timedelta()) or min(theirs + _DATE_PRECISION - before, timedelta())
    state = "failed" if abs(ahead) > _CLOCK_FAILURE else "warning" if abs(ahead) > _CLOCK_WARNING else "ok"
    advice = None if state == "ok" else "Run an NTP client, such as chrony, on both machines."
    return check(name, state, f"{ahead.total_seconds():+.0f} s compared with this machine", advice)


def service_check(service: Mapping[str, Any]) -> Check:
    name, state, lag = service["service"], service["state"], service["lag"]
    if state == "working":
        return check(name, "ok", f"{service['instances']} instances, {lag} messages wait")
    if state == "stopped":
        return check(
            name, "failed", f"no instance is connected, {lag} messages wait", f"Start {name}, or read its log."
        )
    found = service["detail"] or "instances are dividing the partitions"
    return check(name, "warning", found, "Run the doctor again in a minute.")


def fetch_checks(api: Api, wait: Callable[..., Mapping[str, Any]] = wait_for_run) -> list[Check]:
    """A manual run of one config of each exchange."""
    configs: dict[str, Any] = {}
    for config in api.rows("/configs", most=None, page=100):
        if config["enabled"]:
            configs.setdefault(config["exchange"], config)
    if not configs:
        return [check("fetch", "warning", "no config is enabled", "Create one: candlekeep configs add --help")]
    return [_fetch_check(api, config, wait) for _, config in sorted(configs.items())]


def _fetch_check(api: Api, config: Mapping[str, Any], wait: Callable[..., Mapping[str, Any]]) -> Check:
    name = f"fetch from {config['exchange']}"
    try:
        accepted = api.request("POST", f"/configs/{config['id']}/trigger").json()
        run = wait(api, accepted["run_id"], _FETCH_SECONDS)
    except CommandFailed as error:
        return check(name, "failed", str(error), "Look for the exchange in docs/runbook.md.")
    if run["status"] == "success":
        return check(name, "ok", f"{config['symbol']}: {run['records_collected']} candles")
    found = f"{config['symbol']}: {run['status']}, {run['error_message']}"
    return check(name, "failed", found, "Look for the error class in docs/runbook.md.")


def own_checks(environment: Mapping[str, str]) -> list[Check]:
    """The checks of `python -m admin_api doctor`, or a line that says where to run it."""
    missing = [name for name in _NEEDED if not environment.get(name)]
    if missing or importlib.util.find_spec("admin_api") is None:
        reason = f"{' and '.join(missing)} not set" if missing else "the package of admin-api is not installed here"
        advice = "Run `python -m admin_api doctor` in a container of admin-api."
        return [check("Kafka and Postgres", "warning", f"not checked: {reason}", advice)]
    done = subprocess.run(
        (sys.executable, "-m", "admin_api", "doctor", "--json"),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    try:
        found: list[Check] = json.loads(done.stdout)
    except ValueError:
        reason = (done.stderr.strip().splitlines() or ["no output"])[-1]
        return [check("Kafka and Postgres", "failed", f"the check ended: {reason}", "Check the settings of admin-api.")]
    return found


def lines_of(checks: Iterable[Check]) -> list[str]:
    lines, counts = [], {"ok": 0, "warning": 0, "failed": 0}
    for each in checks:
        counts[each["state"]] += 1
        lines.append(f"{each['state']:<8}{each['name']}: {each['found']}")
        if each["advice"]:
            lines.append(f"        -> {each['advice']}")
    return [*lines, ", ".join(f"{count} {state}" for state, count in counts.items())]
