"""The control endpoints, for tests and demonstrations. Invalid input gets a 400 with the reason."""

import time
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from exchange_simulator.aggregate import trimmed
from exchange_simulator.markets import EXCHANGES
from exchange_simulator.moods import parse_mood
from exchange_simulator.simulator import Simulator
from exchange_simulator.timeframes import FRAMES, clamp, parse_instant
from exchange_simulator.venue import Window

_MAX_TRUTH_ROWS = 200_000
_DEFAULT_TRUTH_ROWS = 500
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def routes(simulator: Simulator) -> list[web.RouteDef]:
    control = Control(simulator)
    return [
        web.get("/health", control.health),
        web.get("/control/moods", _checked(control.list_moods)),
        web.post("/control/moods", _checked(control.add_mood)),
        web.delete("/control/moods", _checked(control.clear_moods)),
        web.get("/control/requests", _checked(control.list_requests)),
        web.delete("/control/requests", _checked(control.clear_requests)),
        web.get("/control/truth", _checked(control.truth)),
        web.get("/control/clock", _checked(control.show_clock)),
        web.put("/control/clock", _checked(control.set_clock)),
    ]


def _checked(handler: Handler) -> Handler:
    async def checked(request: web.Request) -> web.StreamResponse:
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
            now = _instant(str(payload["now"]), "now") if "now" in payload else clock.now_ms()
            (clock.freeze if frozen else clock.run_from)(now)
        else:
            clock.shift(offset or 0)
        return web.json_response(self._clock())

    def _clock(self) -> dict[str, Any]:
        clock = self._simulator.clock
        return {"now_ms": clock.now_ms(), "frozen": clock.frozen_at_ms is not None, "offset_ms": clock.offset_ms}


def true_candles(simulator: Simulator, query: dict[str, str]) -> list[list[float]]:
    """The closed candles, without the limits, order and moods of the exchange. Raises ValueError."""
    venue = simulator.venues.get(query.get("exchange", ""))
    if venue is None:
        raise ValueError(f"exchange must be one of {', '.join(EXCHANGES)}")
    market = venue.listing.by_symbol.get(query.get("symbol", ""))
    if market is None:
        raise ValueError(f"{venue.exchange} has no symbol {query.get('symbol', '')!r}")
    frame = FRAMES.get(query.get("timeframe", ""))
    if frame is None:
        raise ValueError(f"timeframe must be one of {', '.join(FRAMES)}")
    now = simulator.clock.now_ms()
    stop = frame.floor(now)
    if "end" in query:
        stop = min(stop, _instant(query["end"], "end"))
    start = clamp(frame.plus(stop, -_DEFAULT_TRUTH_ROWS))
    if "start" in query:
        start = _instant(query["start"], "start")
    limit = max(0, stop - start) // frame.shortest_ms + 1
    if limit > _MAX_TRUTH_ROWS:
        raise ValueError(f"that is more than {_MAX_TRUTH_ROWS} candles: request a shorter time range")
    window = Window(start, stop, limit, False, now)
    rows = venue.rows(market, frame, window, (trimmed, trimmed))
    return [[row.open_ms, *(float(text or "nan") for text in row[1:])] for row in rows]


def _instant(text: str, name: str) -> int:
    try:
        return parse_instant(text)
    except (ValueError, OverflowError):
        raise ValueError(f"{name} must be milliseconds since the epoch or an ISO 8601 instant") from None


async def _payload(request: web.Request) -> Any:
    try:
        return await request.json()
    except ValueError:
        raise ValueError("the body must be JSON") from None
