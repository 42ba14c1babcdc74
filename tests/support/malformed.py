"""Generates malformed requests. Each request that would change something has a fault for which it must be refused."""

import base64
import json
import random
import re
import string
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.api import BASE, TOKEN, a_config

Headers = list[tuple[bytes, bytes]]

_DESCRIPTION: Any = json.loads((Path(__file__).parents[2] / "services/admin-api/openapi.json").read_text())
"""All operations of the API, so that each new one gets malformed requests too."""
_IDS = ("1", str(10**15), "kraken")
"""Values of parameters in paths: an id that may exist, an id that does not exist, and a name."""


def _operations() -> list[tuple[str, str, Any]]:
    """Method, path below `BASE`, and description, for each operation and each of `_IDS`."""
    return [
        (method.upper(), path, operation)
        for template, methods in _DESCRIPTION["paths"].items()
        if template.startswith(BASE)
        for path in dict.fromkeys(re.sub(r"\{\w+\}", each, template.removeprefix(BASE)) for each in _IDS)
        for method, operation in methods.items()
    ]


def _parameters(operation: Any, place: str) -> list[str]:
    return [each["name"] for each in operation.get("parameters", []) if each["in"] == place]


_READS = [path for method, path, _ in _operations() if method == "GET"]
_CHANGES_OF_ONE = [
    (method, path) for method, path, operation in _operations() if "If-Match" in _parameters(operation, "header")
]
_WITH_A_BODY = [(method, path) for method, path, operation in _operations() if "requestBody" in operation]
_PARAMETERS = sorted({name for _, _, operation in _operations() for name in _parameters(operation, "query")} | {"x"})
_LAST = "\u00e9\u00ff\u0080 \t\"'\\;,=%&#<>{}[]()*"


@dataclass(frozen=True)
class Raw:
    """A request as bytes, without any validation."""

    method: str
    path: bytes
    query: bytes = b""
    headers: Sequence[tuple[bytes, bytes]] = ()
    body: bytes = b""


class Malformed:
    """Generates the same requests for the same seed. `tokens` are almost valid credentials: revoked or forged."""

    def __init__(self, seed: int, tokens: Sequence[str]) -> None:
        self._random = random.Random(seed)
        self._tokens = tokens
        self._kinds: Sequence[Callable[[], Raw]] = (
            *(self._credential, self._body, self._body, self._query, self._header, self._path, self._method),
        )

    def request(self) -> Raw:
        return self._random.choice(self._kinds)()

    # One method per kind of request

    def _credential(self) -> Raw:
        pick = self._random
        method, path = pick.choice([*(("GET", read) for read in _READS), *_CHANGES_OF_ONE, *_WITH_A_BODY])
        wrong = pick.choice([self._wrong_token, self._wrong_scheme, self._several_tokens, self._wrong_cookie])()
        return Raw(method, _below(path), b"", wrong, b"{}")

    def _body(self) -> Raw:
        method, path = self._random.choice(_WITH_A_BODY)
        content, body = self._bytes_of_a_body()
        if self._random.random() < 0.1:
            content = self._random.choice([b"", b"text/plain", b"application/xml", b"application/json; charset=\xff"])
        return Raw(method, _below(path), b"", [_valid_token(), (b"content-type", content)], body)

    def _query(self) -> Raw:
        pick = self._random
        pairs = [(pick.choice(_PARAMETERS), self._value()) for _ in range(pick.randint(1, 4))]
        query = b"&".join(name.encode() + b"=" + _quoted(value) for name, value in pairs)
        if pick.random() < 0.2:
            query = pick.choice([b"%", b"%zz=%", b"cursor=%ff%fe", b"&&&=", b"\xff=\xfe", b"limit=%00", query * 50])
        return Raw("GET", _below(pick.choice(_READS)), query, [_valid_token()])

    def _header(self) -> Raw:
        """A wrong header. A changing request gets a malformed or wrong precondition or idempotency key."""
        pick = self._random
        junk = self._latin_1()
        harmless = [
            (name, self._latin_1())
            for name in (b"x-request-id", b"last-event-id", b"accept", b"origin", b"x-forwarded-for", b"range")
            if pick.random() < 0.3
        ]
        if pick.random() < 0.5:
            return Raw("GET", _below(pick.choice(_READS)), b"", [_valid_token(), *harmless, (b"if-none-match", junk)])
        method, path = pick.choice(_CHANGES_OF_ONE)
        wrong = pick.choice([b"", b"1", b"'1'", b'"999"', b'"1', b'W/"1"', b'"1",,', junk + b"!", b"**", b'"' * 5000])
        faults = [(b"if-match", wrong)]
        if method == "POST" and pick.random() < 0.5:
            faults = [(b"idempotency-key", pick.choice([b"", b" ", b'"', b"k" * 300, b"a b", b"\xff" + junk]))]
        length = (
            [(b"content-length", pick.choice([b"-1", b"9" * 40, b"x", b"0x10", b"1e3"]))] if pick.random() < 0.2 else []
        )
        content = [(b"content-type", b"application/json")]
        return Raw(
            method, _below(path), b"", [_valid_token(), *harmless, *faults, *content, *length], b'{"enabled": true}'
        )

    def _path(self) -> Raw:
        pick = self._random
        part = pick.choice(
            [
                *("..", "%2e%2e", "%00", "0", "-1", "1.0", "1e3", str(2**63), "9" * 400, "%ff", "null", "1%20", "+1"),
                *("\u0661", "a/b", "", ".", "~", "1;drop", "%252e", "bulk", "export", "apply", "\udcff"),
            ]
        )
        route = pick.choice(
            ["/configs/{}/nothing", "/execution-logs/{}", "/tokens/{}/nothing", "/{}", "/configs/{}/x/"]
        )
        path = (BASE + route.format(part)).encode("utf-8", "surrogateescape")
        if pick.random() < 0.2:
            path = pick.choice(
                [b"/", b"//", b"/api", b"/API/v1", path.upper(), path + b"/", path * 20, b"/docs/../api"]
            )
        return Raw(pick.choice(["GET", "POST", "PUT", "DELETE", "HEAD"]), path, b"", [_valid_token()], b"{}")

    def _method(self) -> Raw:
        method = self._random.choice(
            ["PATCH", "TRACE", "CONNECT", "OPTIONS", "PROPFIND", "get", "QUERY", "", "G\xcbT", "A" * 500]
        )
        return Raw(method, _below(self._random.choice(_READS)), b"", [_valid_token()], self._value())

    # The parts of requests

    def _wrong_token(self) -> Headers:
        pick = self._random
        token = pick.choice(self._tokens)
        cut = pick.randrange(len(token))
        head, _, tail = token.partition(".")
        other = pick.choice([letter for letter in string.ascii_letters if letter != token[cut]])
        changed = pick.choice(
            [
                *(token[:cut], token[:cut] + other + token[cut + 1 :], token + "x", token.swapcase(), token * 200),
                *("", "ck_", "a" * 100_000, "ck_" + "a" * 12 + "_" + "b" * 43 + "_00000000", "....", "ey.ey.ey"),
                *(f"{_part(alg='none', typ='JWT')}.{tail}", f"{_part(alg='none')}.{_part(sub='x', roles=['admin'])}."),
                *(f"{_part(alg='HS256', kid='../../dev/null')}.{tail}", f"{_part(alg=[], kid={})}.{tail}"),
                *(f"{_part(alg='RS256', jku='http://127.0.0.1:1/')}.{tail}", f"{head}.{head}.{head}", token[::-1]),
            ]
        )
        return [(b"authorization", b"Bearer " + changed.encode())]

    def _wrong_scheme(self) -> Headers:
        token = TOKEN.encode()
        junk = self._latin_1()
        choices = [token, b"Basic " + base64.b64encode(b"admin:" + token), b"Bearer", b"Bearer " + token + b" x", junk]
        choices += [b"Bearer " + junk + b"\xe9", b"Digest " + token, b"bearer\t" + token, b"\xff\xfe " + token]
        return [(b"authorization", self._random.choice(choices))]

    def _several_tokens(self) -> Headers:
        return [_valid_token()] * self._random.randint(2, 5)

    def _wrong_cookie(self) -> Headers:
        name = self._random.choice([b"candlekeep-session", b"__Host-candlekeep", b"x"])
        value = self._random.choice([b"", b"a" * 43, TOKEN.encode(), b"=;=;", b"a" * 10_000, self._latin_1()])
        return [(b"cookie", name + b"=" + value), (b"x-csrf-protection", b"1")]

    def _bytes_of_a_body(self) -> tuple[bytes, bytes]:
        pick = self._random
        kind = pick.randrange(4)
        if kind == 0:
            return b"application/yaml", pick.choice(_YAML)
        if kind == 1:
            return b"application/json", pick.choice(_NOT_JSON)
        if kind == 2:
            return b"application/json", json.dumps(self._wrong_value(0)).encode()
        whole = a_config(**{pick.choice(["symbol", "exchange", "timeframes", "interval_minutes", "enabled"]): {}})
        whole[self._value().decode("latin-1") + "?"] = self._wrong_value(0)
        body = pick.choice([whole, {"configs": [whole]}, {"select": whole}, {"version": 2, "configs": [whole]}])
        return b"application/json", json.dumps(body).encode()

    def _wrong_value(self, depth: int) -> Any:
        """Any JSON except an object with the fields of a request body."""
        pick = self._random
        simple: list[Any] = [
            None,
            True,
            -1,
            2**70,
            1e308,
            float("nan"),
            float("inf"),
            "\x00",
            "\ud800",
            "x" * 1000,
            "",
            [],
            0.5,
        ]
        if depth > 3 or pick.random() < 0.5:
            return pick.choice(simple)
        if pick.random() < 0.5:
            return [self._wrong_value(depth + 1) for _ in range(pick.randint(1, 3))]
        return {f"{pick.choice(_LAST)}{pick.random()}": self._wrong_value(depth + 1)}

    def _value(self) -> bytes:
        pick = self._random
        cursor = base64.urlsafe_b64encode(json.dumps([1, "0" * 12, self._wrong_value(2)]).encode()).rstrip(b"=")
        known = [
            b"",
            b"0",
            b"-1",
            b"9" * 30,
            b"1e9",
            b"nan",
            b"true",
            b"\x00",
            b"\xff\xfe",
            b"null",
            b"[]",
            b"a" * 3000,
        ]
        known += [b"2025-13-45T99:99:99Z", b"0001-01-01T00:00:00+14:00", b"9999-12-31T23:59:59-14:00", b"1e400", cursor]
        known += [cursor[:-3], b"WzEs", b"' OR 1=1 --", b"%s%n", b"${jndi:ldap://x}", "\u202e\U0001f512".encode()]
        return pick.choice(known)

    def _latin_1(self) -> bytes:
        """Characters that a header may contain: no line breaks and no NUL, which servers refuse."""
        pick = self._random
        return "".join(pick.choice(string.printable[:94] + _LAST) for _ in range(pick.choice([1, 5, 80, 3000]))).encode(
            "latin-1"
        )


def _valid_token() -> tuple[bytes, bytes]:
    return b"authorization", b"Bearer " + TOKEN.encode()


def _below(path: str) -> bytes:
    return (BASE + path).encode()


def _quoted(value: bytes) -> bytes:
    return b"".join(b"%%%02x" % byte for byte in value)


def _part(**values: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(values).encode()).rstrip(b"=").decode()


_NOT_JSON = (
    *(b"", b"{", b"}", b'{"a":}', b"[" * 60_000, b'{"a":' * 10_000, b"\xef\xbb\xbf{}x", b"\xff\xfe[\x00]\x00", b"nul"),
    *(b"\x00", b'{"symbol": "\xff"}', b'{"symbol": "\\ud800"}', b"NaN", b"-", b"1" * 5_000, b"'{}'", b"{}{}", b"/* */"),
    *(b'"' + b"\\" * 999, b'{"x": ' + b"9" * 5_000 + b"}", b" " * 70_000, b"[" + b"0," * 35_000 + b"0]", b"\r\n\r\n"),
)
_BOMB = b"a: &a [x, x, x]\n" + b"".join(b"%c: &%c [*%c, *%c]\n" % (n, n, n - 1, n - 1) for n in range(98, 122))
_YAML = (
    *(_BOMB, b"configs: !!python/object/apply:os.system [id]", b"configs: &a [*a]", b"- " * 20_000, b"[" * 60_000),
    *(
        b"configs: [",
        b"configs:\n\t- x",
        b"\x00",
        b"\xff\xfe",
        b"--- a\n--- b",
        b"configs: {}",
        b"version: 9\nconfigs: []",
    ),
    *(
        b"configs: [{symbol: 1}]",
        b"? [a]\n: b",
        b"<<: [1]",
        b"a" * 70_000,
        b"%YAML 9.9\n---\n{}",
        b"{a: 1, a: 2}",
    ),
    *(b"configs: 1e999", b"configs: [2026-99-99]", b"configs: [0x" + b"f" * 5000 + b"]", b"!<x> {}", b'"\\ud800"'),
)
