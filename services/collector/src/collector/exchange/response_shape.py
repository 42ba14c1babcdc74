"""Decides whether JSON contains candles, says that there are none, is a refusal, or has an unknown form. Pure.

ccxt reads a missing field as an empty list. So its result is the same for `{"unexpected": 1}`, `{"candles": []}` and
`{"code": 50001, "msg": "system busy", "candles": []}`.

`candle_lists.json` contains the place at which ccxt's own parser reads the list, for each exchange. Nearly all
exchanges use the same words as markers of a refusal, so one rule recognizes them.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final, Literal

ANY_KEY: Final = "*"
"""Stands for any key in a path. It is used if the exchange names the key after the market."""

CANDLE_LISTS: Final = Path(__file__).with_name("candle_lists.json")

Path_ = tuple[str | int, ...]
Content = Literal["candles", "none"]
Found = Literal["candles", "empty list", "nothing", "missing"]
_BEST_FIRST: Final[tuple[Found, ...]] = ("candles", "empty list", "nothing", "missing")

_SEARCH_DEPTH: Final = 4
"""The depth to which nested objects are searched for a list if the exchange's path is not known."""

_FLAGS: Final = frozenset({"success", "succeeded", "succ", "ok", "issuccess", "result"})
_CODES: Final = frozenset(
    {
        *("code", "retcode", "returncode", "resultcode", "responsecode", "statuscode", "rc", "ret", "status", "state"),
        *("errorcode", "errcode", "errno", "errorno", "errornumber"),
    }
)
_ERRORS: Final = frozenset(
    {
        *("error", "err", "errors", "errormessage", "errmessage", "errormsg", "errmsg", "errordescription"),
        *("rejectreason", "failreason", "failuremessage", "exception"),
    }
)
_MESSAGES: Final = frozenset({"msg", "message", "retmsg", "msginfo", "mc", "statusdescription", "reason", "detail"})

_SUCCESS_WORDS: Final = frozenset(
    {
        *("", "ok", "success", "successful", "successfully", "succeeded", "true", "yes", "normal", "done", "completed"),
        *("成功", "查询成功", "操作成功", "请求成功", "none", "null", "no error", "noerror", "no_error"),
    }
)
_NO_DATA_WORDS: Final = frozenset({"no_data", "nodata", "no data", "no_candles", "empty"})
_FAILURE_WORDS: Final = frozenset(
    {"error", "err", "fail", "failed", "failure", "false", "no", "rejected", "denied", "nok", "ko"}
)
_SUCCESS_CODES: Final = frozenset({"200000"})  # KuCoin, "Response code": 200000 is success


class NoCandles(ValueError):  # noqa: N818 -- the name states the problem
    """The response has neither candles nor a known form of "no candles"."""


class Refusal(NoCandles):
    """The response says that the request was refused or failed."""


def content_of(body: Any, paths: tuple[Path_, ...] | None, *, always_a_list: bool = False) -> Content:
    """Whether the JSON `body` has candles, or says that there are none. Raises `Refusal` and `NoCandles`.

    `paths`: the possible places of the list, see `paths_of`. If the places are unknown, it is None, and any list within
    the body is accepted as the list of candles. `always_a_list`: the exchange sends an empty list if there are no
    candles, never null or an empty object.
    """
    found = _found(body, paths)
    objects = list(_objects(body, paths or ()))
    if (refusal := _refusal_beside_candles(objects) or _refusing_list(body)) is not None:
        raise Refusal(refusal)
    if found == "candles":
        return "candles"
    if (refusal := _unknown_code(objects)) is not None:
        raise Refusal(refusal)
    if found == "missing" and not _says_no_data(objects):
        raise NoCandles(f"JSON without a list of candles: {body!r:.200}")
    if found == "nothing" and always_a_list:
        raise NoCandles(f"an empty value in place of the list of candles: {body!r:.200}")
    if (message := _message_without_code(objects)) is not None:
        raise NoCandles(f"a message instead of candles: {message:.200}")
    return "none"


def paths_of(exchange: str, kind: str) -> tuple[Path_, ...] | None:
    """The places where the list of candles may be, in `candle_lists.json`. None if the exchange is not there.

    A place is a tuple of keys and list indexes; `()`: the response is the list; `ANY_KEY`: the exchange names the key
    after the market. `kind`: spot or swap.
    """
    return _candle_lists().get(exchange, {}).get(kind)


@cache
def _candle_lists() -> Mapping[str, Mapping[str, tuple[Path_, ...]]]:
    content = json.loads(CANDLE_LISTS.read_text(encoding="utf-8"))["exchanges"]
    return {
        exchange: {kind: tuple(tuple(path) for path in paths) for kind, paths in kinds.items()}
        for exchange, kinds in content.items()
    }


def _found(body: Any, paths: tuple[Path_, ...] | None) -> Found:
    """The best of the values at the paths.

    The result "nothing" means null, an empty object or an empty text in place of a list.
    """
    if paths is None:
        lists = [value for value in _values_within(body, _SEARCH_DEPTH) if isinstance(value, list)]
        return "candles" if any(lists) else "empty list" if lists else "missing"
    return _best(_found_at(body, path, is_root=True) for path in paths)


def _best(results: Iterable[Found]) -> Found:
    return min(results, key=_BEST_FIRST.index, default="missing")


def _found_at(value: Any, path: Path_, *, is_root: bool = False) -> Found:
    if not is_root and (value is None or value in ({}, "")):
        return "nothing"
    if value == [] and not is_root and path and isinstance(path[0], str):
        return "nothing"  # PHP writes an empty object as an empty list
    if value == [] and (not path or path[0] == 0):
        return "empty list"
    if not path:
        return "candles" if isinstance(value, list) else "missing"
    key, *rest = path
    return _best(_found_at(each, tuple(rest)) for each in _values_of(value, key))


def _values_of(value: Any, key: str | int) -> Iterable[Any]:
    """The values under a key of a path; none if `value` has no such key."""
    if isinstance(key, int):
        return value[key : key + 1] if isinstance(value, list) else ()
    if not isinstance(value, dict):
        return ()
    return value.values() if key == ANY_KEY else [value[key]] if key in value else ()


def _values_within(body: Any, depth: int) -> Iterator[Any]:
    yield body
    if depth > 0 and isinstance(body, dict):
        for value in body.values():
            yield from _values_within(value, depth - 1)


def _objects(body: Any, paths: tuple[Path_, ...]) -> Iterator[dict[str, Any]]:
    """The objects that may contain the markers of a refusal: the response, and those on the way to the list."""
    if isinstance(body, dict):
        yield {_plain_key(key): value for key, value in body.items()}
        for key in {path[0] for path in paths if len(path) > 1 and path[1] != ANY_KEY}:
            if isinstance(body.get(key), dict):
                yield {_plain_key(name): value for name, value in body[key].items()}


def _plain_key(key: object) -> str:
    return re.sub(r"[^a-z]", "", str(key).lower())


def _refusal_beside_candles(objects: list[dict[str, Any]]) -> str | None:
    """A marker of a refusal that is valid even if the response contains candles: a flag or a status of failure, or an
    error.
    """
    for fields in objects:
        for key, value in fields.items():
            is_failed = (key in _FLAGS and _is_false(value)) or (
                key in _CODES | {"s", "type"} and (value is False or _word(value) in _FAILURE_WORDS)
            )
            if is_failed or (key in _ERRORS and (value is True or not _is_success(value))):
                return _described(fields, key)
    return None


def _refusing_list(body: Any) -> str | None:
    """Bitfinex sends `["error", 10020, "text"]`."""
    return f"{body!r:.200}" if isinstance(body, list) and body and body[0] == "error" else None


def _unknown_code(objects: list[dict[str, Any]]) -> str | None:
    """A code that is not a known code of success, in a response without candles. A flag or a message of success has
    priority: BTSE sends `{"code": 1, "msg": "Success", "success": true}`.
    """
    for fields in objects:
        if _says_success(fields):
            continue
        for key, value in fields.items():
            if key in _CODES and not (isinstance(value, dict | list) or _is_success(value) or _is_no_data(value)):
                return _described(fields, key)
    return None


def _message_without_code(objects: list[dict[str, Any]]) -> str | None:
    """A message in a response without candles and without a code or a flag of success."""
    for fields in objects:
        has_code = any(key in _CODES and value is not None for key, value in fields.items())
        if not has_code and not _says_success(fields):
            for message in _messages(fields):
                if not (_is_success(message) or _is_no_data(message)):
                    return message
    return None


def _says_success(fields: dict[str, Any]) -> bool:
    """Whether a flag or a message reports success, and no message contradicts it."""
    messages = [message for message in _messages(fields) if message.strip()]
    flag = any(_is_true(value) for key, value in fields.items() if key in _FLAGS)
    return (flag or bool(messages)) and all(_is_success(message) for message in messages)


def _messages(fields: dict[str, Any]) -> list[str]:
    return [value for key, value in fields.items() if key in _MESSAGES and isinstance(value, str)]


def _says_no_data(objects: list[dict[str, Any]]) -> bool:
    """Whether the response is `{"s": "no_data"}`, as in TradingView's protocol UDF."""
    return any(_is_no_data(fields.get(key)) for fields in objects for key in ("s", "status"))


def _described(fields: dict[str, Any], key: str) -> str:
    texts = [str(fields[name]) for name in fields if name in _MESSAGES | _ERRORS and name != key and fields[name]]
    return f"{key}={fields[key]!r:.200}" + (f", {' '.join(texts):.200}" if texts else "")


def _is_false(value: Any) -> bool:
    return value is False or (isinstance(value, int) and value == 0) or _word(value) in _FAILURE_WORDS | {"0"}


def _is_true(value: Any) -> bool:
    return value is True or value == 1 or _word(value) in {"true", "ok", "success", "1", "yes"}


def _is_no_data(value: Any) -> bool:
    return _word(value) in _NO_DATA_WORDS


def _is_success(value: Any) -> bool:
    """Whether the value of a code, a status, an error or a message means success: nothing, zero, 2xx, or a word."""
    if value is None or isinstance(value, bool) or value in ([], {}):
        return True
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    word = str(value).strip().lower() if isinstance(value, int | str) else "?"
    is_zero_or_2xx = re.fullmatch(r"0+|2\d\d", word, re.ASCII) is not None
    return is_zero_or_2xx or word in _SUCCESS_WORDS or word in _SUCCESS_CODES


def _word(value: Any) -> str | None:
    return value.strip().lower() if isinstance(value, str) else None
