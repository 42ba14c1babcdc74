"""The verification of JWTs and the mapping of their claims."""

import base64
import hmac
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc.jwk import RSAKey
from pydantic import SecretStr, ValidationError

from admin_api.auth.identity import Identity, NotAdmitted, Unauthorized
from admin_api.auth.jwks import parse_keys
from admin_api.auth.oidc import JwtRules, identity_of, key_id, looks_like_jwt, verified_claims
from admin_api.settings import AdminApiSettings
from admin_api.writes.actors import Role
from support.identity_provider import AUDIENCE, ISSUER, SigningKey, a_jwt, a_key

NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)
KEY = a_key()
RULES = JwtRules(
    issuer=ISSUER,
    audience=AUDIENCE,
    algorithms=frozenset({"RS256", "ES256", "Ed25519", "EdDSA"}),
    token_types=frozenset({"at+jwt", "jwt"}),
    leeway_seconds=30,
    role_claim="roles",
    role_map={"markets-viewers": Role.VIEWER, "markets-operators": Role.OPERATOR, "markets-admins": Role.ADMIN},
    name_claim="sub",
)


def login(text: str, key: SigningKey = KEY, rules: JwtRules = RULES) -> Identity:
    """Verifies a token like `JwtVerifier`, with a key set of this one key."""
    assert looks_like_jwt(text)
    if key_id(text, rules) != key.kid:
        raise Unauthorized("unknown", "another key")
    [public] = parse_keys(json.dumps({"keys": [key.as_dict(private=False)]}).encode()).values()
    return identity_of(verified_claims(text, public, rules, NOW), rules)


def test_a_valid_token_gives_the_identity_of_its_owner() -> None:
    identity = login(a_jwt(KEY, now=NOW))
    assert (identity.kind, identity.name, identity.role) == ("oidc", "ann", Role.OPERATOR)
    assert identity.expires_at == NOW + timedelta(minutes=5)


@pytest.mark.parametrize("kind", ["RSA", "EC", "OKP"])
def test_each_key_type_can_verify_a_token(kind: str) -> None:
    key = a_key("other", kind)
    assert login(a_jwt(key, now=NOW), key).name == "ann"


SECOND = timedelta(seconds=1)


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"iss": "https://login.example.org/realms/market"}, "unknown"),
        ({"iss": ISSUER + "/"}, "unknown"),
        ({"iss": None}, "unknown"),
        ({"iss": [ISSUER]}, "unknown"),
        ({"aud": "another-api"}, "unknown"),
        ({"aud": ["another-api", "candlekeep2"]}, "unknown"),
        ({"aud": None}, "unknown"),
        ({"aud": []}, "unknown"),
        ({"aud": {"candlekeep": 1}}, "unknown"),
        ({"exp": int(NOW.timestamp()) - 30}, "expired"),
        ({"exp": None}, "unknown"),
        ({"exp": "never"}, "unknown"),
        ({"exp": True}, "unknown"),
        ({"nbf": int(NOW.timestamp()) + 31}, "unknown"),
        ({"iat": int(NOW.timestamp()) + 31}, "unknown"),
        ({"iat": None}, "unknown"),
        ({"sub": None}, "unknown"),
        ({"sub": 7}, "unknown"),
    ],
)
def test_a_token_with_a_wrong_claim_is_refused(claims: dict[str, Any], reason: str) -> None:
    with pytest.raises(Unauthorized) as refused:
        login(a_jwt(KEY, now=NOW, **claims))
    assert refused.value.reason == reason


@pytest.mark.parametrize(
    "claims",
    [
        {"exp": int(NOW.timestamp()) - 29},
        {"nbf": int(NOW.timestamp()) + 30},
        {"iat": int(NOW.timestamp()) + 30},
        {"aud": ["another-api", AUDIENCE]},
        {"exp": 10**30},
    ],
)
def test_small_clock_differences_and_several_audiences_are_accepted(claims: dict[str, Any]) -> None:
    assert login(a_jwt(KEY, now=NOW, **claims)).name == "ann"


@pytest.mark.parametrize("subject", ["", "a\x00b", "a\nb", "x" * 256])
def test_an_invalid_subject_is_refused(subject: str) -> None:
    with pytest.raises(Unauthorized) as refused:
        login(a_jwt(KEY, now=NOW, sub=subject))
    assert refused.value.reason == "unknown"


def test_the_identity_is_issuer_and_subject_and_not_the_name() -> None:
    named = JwtRules(**{**vars(RULES), "name_claim": "nickname"})
    ann, other = (login(a_jwt(KEY, now=NOW, sub=sub, nickname="Ann"), rules=named) for sub in ("1", "2"))
    assert (ann.name, ann.subject) == ("Ann", f"{ISSUER}#1")
    assert (other.name, other.subject) == ("Ann", f"{ISSUER}#2")


@pytest.mark.parametrize("part", [0, 1])
def test_a_token_with_a_name_that_occurs_twice_is_refused(part: int) -> None:
    parts = a_jwt(KEY, now=NOW).split(".")
    decoded = base64.urlsafe_b64decode(parts[part] + "==")
    name = b'"alg":"none",' if part == 0 else b'"roles":["markets-admins"],'
    signed = [
        *parts[:part],
        base64.urlsafe_b64encode(b"{" + name + decoded[1:]).decode().rstrip("="),
        *parts[part + 1 :],
    ]
    with pytest.raises(Unauthorized, match="cannot be read") as refused:
        login(".".join(signed))
    assert refused.value.reason == "malformed"


def test_a_token_may_have_many_claims() -> None:
    assert login(a_jwt(KEY, now=NOW, resource_access={f"program-{n}": {"roles": []} for n in range(100)})).name == "ann"


def unsigned(header: dict[str, Any], text: str) -> str:
    """The token with another header and the old signature."""
    encoded = base64.urlsafe_b64encode(json.dumps(header).encode()).decode().rstrip("=")
    return ".".join([encoded, *text.split(".")[1:]])


@pytest.mark.parametrize(
    "algorithm", ["none", "None", "NONE", "HS256", "HS512", "RS1", "ES256K", "", None, 7, ["ES256"]]
)
def test_an_algorithm_that_is_not_allowed_is_refused_before_the_verification(algorithm: Any) -> None:
    token = unsigned({"alg": algorithm, "kid": "first", "typ": "at+jwt"}, a_jwt(KEY, now=NOW))
    for text in (token, token.rsplit(".", 1)[0] + "."):
        with pytest.raises(Unauthorized) as refused:
            login(text)
        assert refused.value.reason == "malformed"


def test_a_signature_with_the_public_key_as_shared_secret_is_refused() -> None:
    rsa = a_key("first", "RSA")
    assert isinstance(rsa, RSAKey)
    # Built by hand, because joserfc refuses a public key as a shared secret.
    header = base64.urlsafe_b64encode(b'{"alg":"HS256","kid":"first","typ":"JWT"}').decode().rstrip("=")
    body = f"{header}.{a_jwt(rsa, now=NOW).split('.')[1]}"
    signature = hmac.digest(rsa.as_pem(private=False), body.encode(), "sha256")
    forged = f"{body}.{base64.urlsafe_b64encode(signature).decode().rstrip('=')}"
    for rules in (RULES, JwtRules(**{**vars(RULES), "algorithms": frozenset({"RS256", "HS256"})})):
        with pytest.raises(Unauthorized):
            login(forged, rsa, rules)


def test_a_signature_of_another_key_with_the_same_id_is_refused() -> None:
    with pytest.raises(Unauthorized) as refused:
        login(a_jwt(a_key(), now=NOW))
    assert refused.value.counts_as_failed_login


@pytest.mark.parametrize("where", ["jwk", "jku", "x5u", "x5c"])
def test_key_references_in_a_token_are_ignored(where: str) -> None:
    attacker = a_key()
    directions: Any = {
        "jwk": attacker.as_dict(private=False),
        "jku": "https://evil.example/keys",
        "x5u": "https://evil.example/certificate",
        "x5c": ["MIIB"],
    }
    with pytest.raises(Unauthorized):
        login(a_jwt(attacker, now=NOW, header={where: directions[where]}))


def test_an_unknown_critical_header_is_refused() -> None:
    with pytest.raises(Unauthorized):
        login(unsigned({"alg": "ES256", "kid": "first", "typ": "JWT", "crit": ["x"], "x": 1}, a_jwt(KEY, now=NOW)))


@pytest.mark.parametrize(
    ("kind", "fits"),
    [("at+jwt", True), ("application/at+jwt", True), ("JWT", True), ("jwt", True), (None, True), ("id+jwt", False),
     ("logout+jwt", False), ("", False)],
)  # fmt: skip
def test_only_configured_token_types_are_accepted(kind: str | None, fits: bool) -> None:
    text = a_jwt(KEY, now=NOW, header={"typ": kind})
    if fits:
        assert login(text).name == "ann"
    else:
        with pytest.raises(Unauthorized):
            login(text)


def test_only_access_tokens_are_accepted_if_so_configured() -> None:
    strict = JwtRules(**{**vars(RULES), "token_types": frozenset({"at+jwt"})})
    assert login(a_jwt(KEY, now=NOW), rules=strict).name == "ann"
    for kind in ("JWT", None):
        with pytest.raises(Unauthorized):
            login(a_jwt(KEY, now=NOW, header={"typ": kind}), rules=strict)


@pytest.mark.parametrize(
    "text", ["ey..", "ey.a.b", "eyJ9.e30.e30", "eyJhbGciOiJub25lIn0..", "ey\u00e9.a.b", "ey" * 9000 + ".a.b"]
)
def test_a_malformed_token_is_refused(text: str) -> None:
    with pytest.raises(Unauthorized) as refused:
        login(text)
    assert refused.value.reason == "malformed"


@given(st.data())
def test_a_changed_token_is_refused(data: st.DataObject) -> None:
    text = a_jwt(KEY, now=NOW)
    at = data.draw(st.integers(2, len(text) - 2).filter(lambda index: text[index] != "."))
    letter = data.draw(st.sampled_from("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"))
    changed = text[:at] + letter + text[at + 1 :]
    if changed != text:
        with pytest.raises(Unauthorized):
            login(changed)


@pytest.mark.parametrize(
    ("claim", "claims", "role"),
    [
        ("roles", {"roles": ["markets-viewers", "markets-admins"]}, Role.ADMIN),
        ("roles", {"roles": "markets-operators"}, Role.OPERATOR),
        ("roles", {"roles": ["else", 7, None, "markets-viewers"]}, Role.VIEWER),
        ("realm_access.roles", {"realm_access": {"roles": ["markets-admins"]}}, Role.ADMIN),
        ("https://example.org/roles", {"https://example.org/roles": ["markets-viewers"]}, Role.VIEWER),
        ("roles", {"roles": ["admin", "Markets-Admins"]}, None),
        ("roles", {"roles": None}, None),
        ("roles", {"roles": {"markets-admins": True}}, None),
        ("realm_access.roles", {"realm_access": ["markets-admins"]}, None),
    ],
)
def test_only_the_role_map_gives_a_role(claim: str, claims: dict[str, Any], role: Role | None) -> None:
    rules = JwtRules(**{**vars(RULES), "role_claim": claim})
    text = a_jwt(KEY, now=NOW, **claims)
    if role is not None:
        assert login(text, rules=rules).role is role
        return
    with pytest.raises(NotAdmitted) as refused:
        login(text, rules=rules)
    assert refused.value.identity.name == "ann"


@pytest.mark.parametrize(
    ("claims", "name"),
    [
        ({"preferred_username": "Ann B."}, "Ann B."),
        ({"preferred_username": ""}, "ann"),
        ({"preferred_username": 7}, "ann"),
        ({"preferred_username": "a\nb\u202ec\x00"}, "abc"),
        ({"preferred_username": "x" * 1000}, "x" * 200),
    ],
)
def test_the_name_is_safe_in_logs(claims: dict[str, Any], name: str) -> None:
    rules = JwtRules(**{**vars(RULES), "name_claim": "preferred_username"})
    assert login(a_jwt(KEY, now=NOW, **claims), rules=rules).name == name


WHOLE: dict[str, Any] = {
    "oidc_issuer": ISSUER,
    "oidc_audience": AUDIENCE,
    "oidc_jwks_url": "https://login.example.org/keys",
    "oidc_role_map": {"markets-admins": "admin"},
}


def settings(**oidc: Any) -> AdminApiSettings:
    return AdminApiSettings(
        candlekeep_admin_token=SecretStr("x" * 24),
        database_url=SecretStr("postgresql://nowhere/nothing"),
        kafka_bootstrap_servers="nowhere:1",
        **oidc,
    )


def test_all_settings_of_an_identity_provider_are_set_or_none() -> None:
    assert JwtRules.of(settings(**WHOLE)).role_map == {"markets-admins": Role.ADMIN}
    assert settings().oidc_issuer == ""
    for name in WHOLE:
        with pytest.raises(ValidationError, match=name.upper()):
            settings(**{other: value for other, value in WHOLE.items() if other != name})


@pytest.mark.parametrize(
    "bad",
    [
        {"oidc_jwks_url": "http://login.example.org/keys"},
        {"oidc_jwks_url": "file:///etc/passwd"},
        {"oidc_algorithms": ["HS256"]},
        {"oidc_algorithms": ["none"]},
        {"oidc_algorithms": []},
        {"oidc_role_map": {"a": "root"}},
        {"oidc_leeway_seconds": 301},
    ],
)
def test_unsafe_settings_are_errors(bad: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        settings(**(WHOLE | bad))


@pytest.mark.parametrize(
    "bad", ["proxy.example.org", "10.0.0.0/33", "*", "10.0.0.1,everybody", "fe80::1%eth0", "fe80::%1/64"]
)
def test_trusted_proxies_must_be_addresses(bad: str) -> None:
    assert settings(trusted_proxies=" 10.0.0.1 , 192.168.0.0/16,").trusted_proxies == "10.0.0.1,192.168.0.0/16"
    with pytest.raises(ValidationError):
        settings(trusted_proxies=bad)
