"""The status answers of exchanges, and which of them mean that the exchange does not trade. Pure.

ccxt translates these answers to words such as `maintenance`, but not always correctly. For example, it uses the same
word for a closed exchange and for an exchange that only accepts limit orders. So this module uses the raw answer, which
ccxt passes on.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from contracts.exchange_catalogue import MarketKind

_SPOT: Final = frozenset({MarketKind.SPOT})
_SWAPS: Final = frozenset({MarketKind.LINEAR, MarketKind.INVERSE})
_ALL: Final = _SPOT | _SWAPS


@dataclass(frozen=True, kw_only=True)
class StatusAnswer:
    """Where the answer has its status, and which values say that nothing is traded."""

    path: tuple[str | int, ...]
    """The keys and indexes that lead to the status."""
    closed: frozenset[str]
    """The values, in small letters, that mean that nothing is traded. All other values prove nothing."""
    kinds: frozenset[MarketKind]
    """The kinds of markets that the status applies to."""
    source: str

    def read(self, answer: object) -> str:
        """The status as text in small letters. Empty if the answer has none."""
        for step in self.path:
            if isinstance(step, str) and isinstance(answer, Mapping):
                answer = answer.get(step)
            elif isinstance(step, int) and isinstance(answer, Sequence) and not isinstance(answer, str):
                answer = answer[step] if step < len(answer) else None
            else:
                return ""
        return "" if answer is None else str(answer).lower()


def _orderly(url: str) -> StatusAnswer:
    return StatusAnswer(path=("data", "status"), closed=frozenset({"2"}), kinds=_ALL, source=url)


_ORDERLY: Final = (
    "https://orderly.network/docs/build-on-omnichain/restful-api/public/get-system-maintenance-status: 0 is normal "
    "operation, 2 is maintenance"
)

STATUS_ANSWERS: Final[Mapping[str, StatusAnswer]] = {
    "backpack": StatusAnswer(
        path=("status",),
        closed=frozenset({"maintenance"}),
        kinds=_ALL,
        source="https://docs.backpack.exchange/#tag/System/operation/get_status: Ok or Maintenance",
    ),
    "binance": StatusAnswer(
        path=("status",),
        closed=frozenset({"1"}),
        kinds=_SPOT,
        source="https://developers.binance.com/docs/wallet/others/system-status: 0 is normal, 1 is system maintenance",
    ),
    "bitfinex": StatusAnswer(
        path=(0,),
        closed=frozenset({"0"}),
        kinds=_ALL,
        source="https://docs.bitfinex.com/reference/rest-public-platform-status: 1 is operative, 0 is maintenance",
    ),
    "htx": StatusAnswer(
        path=("data", "marketStatus"),
        closed=frozenset({"2", "3"}),
        kinds=_SPOT,
        source="https://huobiapi.github.io/docs/spot/v1/en/#get-market-status: 1 is normal, 2 halted, 3 cancel-only",
    ),
    "kraken": StatusAnswer(
        path=("result", "status"),
        closed=frozenset({"maintenance", "cancel_only", "post_only"}),
        kinds=_SPOT,
        source="https://docs.kraken.com/exchange/api-reference/spot-websocket-v2/status: markets are offline, or no "
        "order matching will occur",
    ),
    "kucoin": StatusAnswer(
        path=("data", "status"),
        closed=frozenset({"close", "cancelonly"}),
        kinds=_SPOT,
        source="https://www.kucoin.com/docs-new/rest/spot-trading/market-data/get-service-status: open, close or "
        "cancelonly",
    ),
    "modetrade": _orderly(_ORDERLY),
    "paradex": StatusAnswer(
        path=("status",),
        closed=frozenset({"maintenance"}),
        kinds=_SWAPS,
        source="https://docs.paradex.trade/api/prod/system/get-state: in maintenance, trading is unavailable",
    ),
    "woo": _orderly(
        "https://developer.woox.io/api-reference/endpoint/public_data/systemInfo: 0 is normal, 2 is maintenance"
    ),
    "woofipro": _orderly(_ORDERLY),
}
"""ccxt's exchange id to its answer. The status is requested from these exchanges only."""

_PING: Final = "the request only shows that the API answers"
_NOTICES: Final = "a list of announcements about parts of the exchange; ccxt reads one of them"
_PART: Final = "the status of the spot exchange, and not of these markets"

NO_WITNESSES: Final[Mapping[str, str]] = {
    "binancecoinm": _PART,
    "binanceus": "no document says which values there are",
    "binanceusdm": _PART,
    "bitbns": "no document says which values there are",
    "bitrue": _PING,
    "bybit": _NOTICES,
    "bybiteu": _NOTICES,
    "bybitid": _NOTICES,
    "coincheck": "the status of each pair; ccxt reads the exchange as closed if one pair is",
    "coinsph": _PING,
    "delta": "a setting of the website; no document says that nothing is traded then",
    "deribit": "says which price indices are locked",
    "digifinex": _PING,
    "foxbit": "a notice that people write, without the time that it is about",
    "hashkey": _PING,
    "hyperliquid": "no document says which values there are",
    "kucoinfutures": "ccxt requests the status of the spot exchange, depending on an option",
    "lighter": "ccxt compares it with the status code of HTTP, so that it is never ok",
    "mexc": _PING,
    "myokx": _NOTICES,
    "nado": "no document says which values there are",
    "ndax": _PING,
    "okx": _NOTICES,
    "okxus": _NOTICES,
    "polymarket": "says that new orders are refused; no document says that nothing is traded then",
    "toobit": _PING,
    "weex": _PING,
    "whitebit": _PING,
    "zebpay": "no document says which values there are",
}
"""Exchanges with a `fetch_status` in ccxt that proves nothing, with the reason."""


def raw_status(exchange: str, status: object) -> tuple[str, bool] | None:
    """The status in the result of ccxt's `fetch_status`, and whether the exchange is closed. None if it has none."""
    known = STATUS_ANSWERS.get(exchange)
    if known is None or not isinstance(status, Mapping):
        return None
    answer: Any = status.get("info")
    word = known.read(answer)
    return (word, word in known.closed) if word else None
