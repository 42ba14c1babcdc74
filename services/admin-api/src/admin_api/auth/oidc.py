"""Verifies the JWTs of an identity provider and maps their claims to an `Identity`."""

import base64
import binascii
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from joserfc import jws, jwt
from joserfc.errors import ExpiredTokenError, JoseError, SecurityWarning
from joserfc.jwk import Key

from admin_api.auth.identity import Identity, IdentityProviderUnavailable, NotAdmitted, Unauthorized
from admin_api.auth.jwks import Jwks
from admin_api.http.json_text import parse_json
from admin_api.settings import AuthSettings
from admin_api.writes.actors import Role

MAX_BYTES: Final = 8 * 1024
_NAME_LENGTH: Final = 200
_SUBJECT_LENGTH: Final = 255
"""The longest subject, which is the limit of OpenID Connect."""


@dataclass(frozen=True, kw_only=True)
class JwtRules:
    """The requirements that a token must meet."""

    issuer: str
    audience: str
    algorithms: frozenset[str]
    token_types: frozenset[str]
    """The accepted values of `typ`, in lower case."""
    leeway_seconds: int
    role_claim: str
    role_map: Mapping[str, Role]
    name_claim: str

    @classmethod
    def of(cls, settings: AuthSettings) -> "JwtRules":
        return cls(
            issuer=settings.oidc_issuer,
            audience=settings.oidc_audience,
            algorithms=frozenset(settings.oidc_algorithms),
            token_types=frozenset(each.lower() for each in settings.oidc_token_types),
            leeway_seconds=settings.oidc_leeway_seconds,
            role_claim=settings.oidc_role_claim,
            role_map=settings.oidc_role_map,
            name_claim=settings.oidc_name_claim,
        )


class JwtVerifier:
    """Verifies tokens with the provider's keys only. Key references in a token (jku, x5u, jwk) are ignored."""

    def __init__(self, rules: JwtRules, keys: Jwks) -> None:
        self._rules = rules
        self._keys = keys

    async def identity(self, text: str, now: datetime) -> Identity:
        """Raises `Unauthorized`, `NotAdmitted`, `IdentityProviderUnavailable`."""
        kid = key_id(text, self._rules)
        key = await self._keys.key(kid)
        if key is None and self._keys.failed:
            raise IdentityProviderUnavailable(
                "The identity provider's keys could not be fetched; try again in 30 seconds, or use an API token.",
                headers={"Retry-After": "30"},
            )
        if key is None:
            raise Unauthorized("unknown", "The token is signed with a key that the identity provider does not have.")
        return identity_of(verified_claims(text, key, self._rules, now), self._rules)


def looks_like_jwt(text: str) -> bool:
    return text.startswith("ey") and text.count(".") == 2  # noqa: PLR2004 -- a JWT has three parts; `ey` is the start of {" in base64


def key_id(text: str, rules: JwtRules) -> str:
    """The key id in the token's header, after checks of the header. The signature is not verified yet.

    Raises `Unauthorized`.
    """
    if len(text) > MAX_BYTES:
        raise Unauthorized("malformed", f"The token is longer than {MAX_BYTES} bytes.")
    header = _header(text)
    algorithm, kind, kid = header.get("alg"), header.get("typ", "JWT"), header.get("kid")
    if not isinstance(algorithm, str) or algorithm not in rules.algorithms:
        raise Unauthorized("malformed", f"The token's algorithm must be one of {', '.join(sorted(rules.algorithms))}.")
    if not isinstance(kind, str) or kind.lower().removeprefix("application/") not in rules.token_types:
        raise Unauthorized("malformed", "The token is not an access token.")
    if not isinstance(kid, str) or not kid:
        raise Unauthorized("malformed", "The token's header has no key id (`kid`).")
    return kid


def verified_claims(text: str, key: Key, rules: JwtRules, now: datetime) -> dict[str, Any]:
    """The claims, after the signature, issuer, audience and times are verified. Raises `Unauthorized`."""
    registry = jws.JWSRegistry(algorithms=sorted(rules.algorithms), strict_check_header=False)
    try:
        # joserfc warns that RFC 9864 prefers the name Ed25519. Providers still use the name EdDSA.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SecurityWarning)
            token = jwt.decode(text, key, algorithms=sorted(rules.algorithms), registry=registry)
    except (JoseError, ValueError, TypeError, RecursionError) as error:
        raise Unauthorized("unknown", "The token's signature is not valid.") from error
    required = jwt.JWTClaimsRegistry(
        now=int(now.timestamp()),
        leeway=rules.leeway_seconds,
        iss={"essential": True, "value": rules.issuer},
        aud={"essential": True, "value": rules.audience},
        exp={"essential": True},
        iat={"essential": True},
        sub={"essential": True},
    )
    try:
        required.validate(token.claims)
    except ExpiredTokenError as error:
        raise Unauthorized("expired", "The token has expired; request a new one.") from error
    except JoseError as error:
        raise Unauthorized("unknown", f"The token is not valid for this API: {error}.") from error
    subject = token.claims["sub"]
    if not isinstance(subject, str) or not 0 < len(subject) <= _SUBJECT_LENGTH or not subject.isprintable():
        raise Unauthorized(
            "unknown", f"The token's `sub` must be 1 to {_SUBJECT_LENGTH} printable characters; contact an admin."
        )
    return token.claims


def identity_of(claims: Mapping[str, Any], rules: JwtRules) -> Identity:
    """The owner of the token. Raises `NotAdmitted` if no value of the role claim is mapped to a role."""
    name = _name(claims, rules.name_claim)
    values = _at_path(claims, rules.role_claim)
    found = values if isinstance(values, list) else [values]
    roles = [rules.role_map[value] for value in found if isinstance(value, str) and value in rules.role_map]
    identity = Identity(
        kind="oidc",
        name=name,
        role=max(roles, key=list(Role).index, default=Role.VIEWER),
        # An issuer URL has no fragment, so `#` separates issuer and subject without ambiguity.
        subject=f"{rules.issuer}#{claims['sub']}",
        expires_at=_instant(claims["exp"]),
    )
    if not roles:
        raise NotAdmitted(
            "no_role",
            f"No value of the claim {rules.role_claim} is mapped to a role; contact an admin.",
            identity=identity,
        )
    return identity


def _header(text: str) -> dict[str, Any]:
    """The header.

    Raises `Unauthorized` if it is not valid, or if a name in the header or in the claims occurs twice.
    """
    header, _ = (_part(part) for part in text.split(".")[:2])
    return header


def _part(encoded: str) -> dict[str, Any]:
    try:
        decoded = base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4))
        part: Any = parse_json(decoded, max_members=MAX_BYTES)  # some providers list hundreds of programs
    except (binascii.Error, ValueError, RecursionError) as error:
        raise Unauthorized("malformed", "The token cannot be read.") from error
    if not isinstance(part, dict):
        raise Unauthorized("malformed", "The token cannot be read.")
    return part


def _at_path(claims: Mapping[str, Any], path: str) -> Any:
    """The claim with this full name, because some names are URLs with dots. If there is none, the nested claim with
    this path.
    """
    if path in claims:
        return claims[path]
    found: Any = claims
    for step in path.split("."):
        found = found.get(step) if isinstance(found, Mapping) else None
    return found


def _name(claims: Mapping[str, Any], claim: str) -> str:
    given = _at_path(claims, claim)
    name = given if isinstance(given, str) and given else str(claims["sub"])
    return "".join(letter for letter in name if letter.isprintable())[:_NAME_LENGTH] or "unnamed"


def _instant(seconds: float) -> datetime | None:
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, OSError, ValueError):  # the time is later than the year 9999
        return None
