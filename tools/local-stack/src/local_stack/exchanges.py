"""The exchanges of a stack with the simulator: where their requests go, and which exchanges are allowed."""

import json
from collections.abc import Mapping
from typing import Any

from pydantic import TypeAdapter, ValidationError

from local_stack.errors import StackError
from runtime.settings import ExchangeList, ExchangeUrls

URLS, ALLOWED = "EXCHANGE_URL_OVERRIDES", "EXCHANGES_ALLOWED"


def exchange_environment(simulated: Mapping[str, str], inherited: Mapping[str, str]) -> dict[str, str]:
    """The variables EXCHANGE_URL_OVERRIDES and EXCHANGES_ALLOWED for the services, so that no request leaves to a real
    exchange. `simulated` is the address of each simulated exchange.

    The operator's addresses (`inherited`) win over `simulated`, and the exchanges that they name are allowed, too. The
    operator's EXCHANGES_ALLOWED can allow fewer exchanges. Raises StackError if a value is not valid, or allows an
    exchange without an address.
    """
    named: dict[str, str] = _checked(ExchangeUrls, inherited, URLS)
    urls = {**simulated, **named}
    wanted: str = _checked(ExchangeList, inherited, ALLOWED)
    allowed = wanted.split(",") if wanted else sorted(urls)
    if real := [exchange for exchange in allowed if exchange not in urls]:
        raise StackError(
            f"{ALLOWED} permits {', '.join(real)}, but only {', '.join(sorted(urls))} have an address on this machine; "
            f"add an address to {URLS}, or use LIVE=1 for the real exchanges"
        )
    return {URLS: json.dumps(urls), ALLOWED: ",".join(allowed)}


def _checked(type_: Any, inherited: Mapping[str, str], variable: str) -> Any:
    text, adapter = inherited.get(variable, ""), TypeAdapter(type_)
    try:
        if type_ is ExchangeList:
            return adapter.validate_python(text)
        return adapter.validate_json(text or "{}")
    except ValidationError as error:
        detail = error.errors(include_url=False, include_context=False)[0]
        inside = "".join(f"[{part}]" for part in detail["loc"])
        reason = detail["msg"].removeprefix("Value error, ")
        raise StackError(f"{variable}{inside} is not valid: {reason}") from None
