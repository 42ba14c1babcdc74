"""Words in a response that show the reason of a refusal, if neither the status nor ccxt does. Pure.

The words come from public reports and from the pages of content delivery networks. Exchanges of all countries write
their errors in English.
"""

import re
from collections.abc import Iterator
from typing import Any, Final

_LONGEST_TEXT: Final = 20_000
_SEARCH_DEPTH: Final = 5

_PLACE: Final = r"(?:location|country|countries|region|jurisdiction|territory|territories|geograph\w*|residence|area)"
_DENIED: Final = (
    r"(?:block\w*|restrict\w*|prohibit\w*|unsupported|not (?:\w+ ){0,3}?(?:supported|available|allowed|permitted|"
    r"eligible|served|accessible|offered)|unavailable|ineligible|forbidden|den(?:y|ies|ied)|banned|sanction\w*|"
    r"disallow\w*|cannot|can't|excluded|illegal)"
)
_GAP: Final = r"(?:\W+\w+){0,8}?\W+"
_PLACE_IS_BLOCKED: Final = re.compile(
    rf"\b{_DENIED}{_GAP}{_PLACE}\b|\b{_PLACE}{_GAP}{_DENIED}\b|\bgeo\W?(?:block|restrict|fenc|locat)\w*", re.IGNORECASE
)
_ANY_PLACE: Final = re.compile(
    rf"\b{_PLACE}s?\b|\bgeo\W?\w*\b|\bsanction\w*|\brestricted\b|\bregulatory restriction|\bnot available in your\b"
    r"|\bunited states\b|\bu\.?s\.? (?:person|user|ip)s?\b",
    re.IGNORECASE,
)
_CREDENTIALS: Final = re.compile(r"white\W?list|permission|api\W?key|credential|log\W?in|signature", re.IGNORECASE)
_CONDITIONAL: Final = r"(?<!\bbe )(?<!\bbeing )(?<!\bget )(?<!\bgetting )"
_BANNED: Final = re.compile(rf"{_CONDITIONAL}\bbanned\b", re.IGNORECASE)
_BANNED_ADDRESS: Final = re.compile(
    rf"\b(?:ip|address|temporar\w*|requests?)\b.{{0,80}}?{_CONDITIONAL}\bbanned\b"
    rf"|{_CONDITIONAL}\bbanned\b.{{0,40}}?\b(?:ip|address|until|temporar\w*|for \d+)\b",
    re.IGNORECASE,
)
_REQUESTS: Final = r"(?:requests?|visits|calls|attempts|connections|queries|weight)"
_TOO_MANY: Final = re.compile(
    "|".join(
        (
            rf"\btoo (?:many|much) (?:\w+ ){{0,3}}?{_REQUESTS}\b",
            r"\btoo frequent",
            r"\brate\W?limit",
            r"\brequest (?:rate|frequency|limit)",
            r"\bfrequency limit",
            r"\bthrottl",
            r"\bslow down\b",
            r"\bexceed\w* (?:\w+ ){0,5}?(?:rate|frequency|requests)\b",
            r"\brequested? too (?:often|quickly|fast)\b",
        )
    ),
    re.IGNORECASE,
)
_MAINTENANCE: Final = re.compile(r"\b(?:under|in|for|scheduled|system) maintenance\b|\bmaintaining\b", re.IGNORECASE)


def words_of(text: str, body: Any = None) -> str:
    """The words of a response that are meant for persons: the values of its JSON `body`, or its `text` without HTML,
    scripts and styles. Underscores and capital letters separate words, so that `RESTRICTED_LOCATION` is two words.
    """
    if isinstance(body, dict | list):
        plain = " ".join(_strings(body, _SEARCH_DEPTH))
    else:
        plain = re.sub(r"(?is)<(script|style)\b.*?(?:</\1\s*>|\Z)|<!--.*?(?:-->|\Z)|<[^>]*>", " ", text[:_LONGEST_TEXT])
    separated = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", plain[:_LONGEST_TEXT].replace("_", " "))
    return re.sub(r"\s+", " ", separated).strip()


def _strings(value: Any, depth: int) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif depth > 0 and isinstance(value, dict | list):
        for each in list(value.values() if isinstance(value, dict) else value)[:50]:
            yield from _strings(each, depth - 1)


def names_place(words: str, *, is_forbidden: bool) -> bool:
    """Whether the words say that the place of the collector is blocked. `is_forbidden`: the status is 403 or 451, so
    that the name of a place is enough.
    """
    if _PLACE_IS_BLOCKED.search(words) is not None:
        return True
    return is_forbidden and _ANY_PLACE.search(words) is not None and _CREDENTIALS.search(words) is None


def names_ban(words: str, *, is_refused: bool) -> bool:
    """Whether the words say that our address is banned now. `is_refused`: the response already says that we sent too
    many requests.
    """
    return (_BANNED if is_refused else _BANNED_ADDRESS).search(words) is not None


def names_too_many_requests(words: str) -> bool:
    return _TOO_MANY.search(words) is not None


def names_maintenance(words: str) -> bool:
    return _MAINTENANCE.search(words) is not None
