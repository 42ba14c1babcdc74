"""The control endpoints, for tests and demonstrations. Invalid input gets a 400 with the reason, and a page of another
site a 403.
"""

import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import Any

from aiohttp import web

from exchange_simulator.browser_check import browser_problem
from exchange_simulator.history import HISTORIES
from exchange_simulator.markets import EXCHANGES
from exchange_simulator.moods import parse_mood, validated
from exchange_simulator.simulator import Simulator
from exchange_simulator.truth import instant, read_truth, true_candles
from exchange_simulator.venue import Venue

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def routes(simulator: Simulator, own_host: str) -> list[web.RouteDef]:
    """`own_host` is the name or address that the simulator listens on."""
    control = Control(simulator)

    def checked(handler: Handler) -> Handler:
        return _checked(handler, own_host)

    return [
        web.get("/health", control.health),
        web.get("/control/moods", checked(control.list_moods)),
        web.post("/control/moods", checked(control.add_mood)),
        web.delete("/control/moods", checked(control.clear_moods)),
        web.delete("/control/moods/{id}", checked(control.remove_mood)),
        web.get("/control/histories", checked(control.list_histories)),
        web.put("/control/histories", checked(control.set_history)),
        web.delete("/control/histories", checked(control.clear_histories)),
        web.get("/control/requests", checked(control.list_requests)),
        web.delete("/control/requests", checked(control.clear_requests)),
        web.get("/control/truth", checked(control.truth)),
        web.get("/control/series", checked(control.series)),
        web.get("/control/clock", checked(control.show_clock)),
        web.put("/control/clock", checked(control.set_clock)),
    ]


def _checked(handler: Handler, own_host: str) -> Handler:
    async def checked(request: web.Request) -> web.StreamResponse:
        if (problem := browser_problem(request.headers, own_host)) is not None:
            return web.json_response({"error": problem}, status=403)
        try:
            return await handler(request)
        except ValueError as error:
            return web.json_response({"error": str(error)}, status=400)

    return checked


class Control:
    """The handlers. They raise ValueError if the input is invalid."""

    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator

    async def health(self, _request: web.Request) -> web.Response:
        return web.json_response({"status": "ok", "exchanges": list(EXCHANGES)})

    async def list_moods(self, _request: web.Request) -> web.Response:
        return web.json_response(self._simulator.moods.describe(time.monotonic()))

    async def add_mood(self, request: web.Request) -> web.Response:
        mood = parse_mood(await _payload(request))
        number = self._simulator.moods.add(mood, time.monotonic())
        return web.json_response({"id": number}, status=201)

    async def clear_moods(self, _request: web.Request) -> web.Response:
        return web.json_response({"cleared": self._simulator.moods.clear()})

    async def remove_mood(self, request: web.Request) -> web.Response:
        number = request.match_info["id"]
        if not number.isdecimal():
            raise ValueError("the id of a mood must be a whole number")
        return web.json_response({"cleared": self._simulator.moods.remove(int(number))})

    async def list_histories(self, _request: web.Request) -> web.Response:
        return web.json_response(
            [
                {"exchange": venue.exchange, "symbol": symbol} | HISTORIES.dump_python(history, exclude_defaults=True)
                for venue in self._simulator.venues.values()
                for symbol, history in venue.histories.items()
            ]
        )

    async def set_history(self, request: web.Request) -> web.Response:
        """Replace the facts about one market, or without `symbol` about all markets of the exchange."""
        payload = await _payload(request)
        if not isinstance(payload, dict):
            raise ValueError("a history is a JSON object")  # noqa: TRY004 - invalid input
        facts = {name: value for name, value in payload.items() if name not in ("exchange", "symbol")}
        venue, symbol = self._venue(payload.get("exchange")), payload.get("symbol")
        if symbol is not None and symbol not in venue.listing.by_symbol:
            raise ValueError(f"{venue.exchange} has no symbol {symbol!r}")
        venue.set_history(symbol, validated(HISTORIES, facts, "history"))
        return web.json_response({})

    async def clear_histories(self, _request: web.Request) -> web.Response:
        for venue in self._simulator.venues.values():
            for symbol in list(venue.histories):
                venue.set_history(symbol, None)
        return web.json_response({})

    def _venue(self, exchange: Any) -> Venue:
        venue = self._simulator.venues.get(exchange) if isinstance(exchange, str) else None
        if venue is None:
            raise ValueError(f"exchange must be one of {', '.join(EXCHANGES)}")
        return venue

    async def list_requests(self, request: web.Request) -> web.Response:
        since_id = request.query.get("since_id", "0")
        if not since_id.isdecimal():
            raise ValueError("since_id must be a whole number")
        return web.json_response(self._simulator.log.entries(request.query.get("exchange"), int(since_id)))

    async def clear_requests(self, _request: web.Request) -> web.Response:
        self._simulator.log.clear()
        return web.json_response({})

    async def truth(self, request: web.Request) -> web.Response:
        """Closed candles that open in [start, end), as `[open_ms, open, high, low, close, volume]`."""
        return web.json_response(true_candles(self._simulator, dict(request.query)))

    async def series(self, request: web.Request) -> web.Response:
        """The fields of `truth.SeriesTruth`."""
        return web.json_response(asdict(read_truth(self._simulator, dict(request.query))))

    async def show_clock(self, _request: web.Request) -> web.Response:
        return web.json_response(self._clock())

    async def set_clock(self, request: web.Request) -> web.Response:
        """`{"now": instant}` sets the time, `"frozen": true` stops it, `{"offset_ms": n}` shifts it, `{}` resets it."""
        payload = await _payload(request)
        if not isinstance(payload, dict) or not payload.keys() <= {"now", "frozen", "offset_ms"}:
            raise ValueError("the clock takes an object with now, frozen or offset_ms")
        frozen, offset = payload.get("frozen", False), payload.get("offset_ms")
        if not isinstance(frozen, bool) or isinstance(offset, bool) or not isinstance(offset, int | None):
            raise ValueError("frozen must be true or false, offset_ms a whole number")  # noqa: TRY004 - invalid input
        if offset is not None and payload.keys() != {"offset_ms"}:
            raise ValueError("offset_ms must be the only field: it shifts real time by this number")
        clock = self._simulator.clock
        if "now" in payload or frozen:
            now = instant(str(payload["now"]), "now") if "now" in payload else clock.now_ms()
            (clock.freeze if frozen else clock.run_from)(now)
        else:
            clock.shift(offset or 0)
        return web.json_response(self._clock())

    def _clock(self) -> dict[str, Any]:
        clock = self._simulator.clock
        return {"now_ms": clock.now_ms(), "frozen": clock.frozen_at_ms is not None, "offset_ms": clock.offset_ms}


async def _payload(request: web.Request) -> Any:
    try:
        return await request.json()
    except ValueError:
        raise ValueError("the body must be JSON") from None
