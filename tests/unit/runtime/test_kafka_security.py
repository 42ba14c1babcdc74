"""The security settings of Kafka's clients: which combinations are refused, and what the messages say."""

import json
import ssl
from pathlib import Path
from typing import Any

import pytest
from aiokafka.errors import KafkaConnectionError, SaslAuthenticationFailed, UnsupportedSaslMechanismError

from runtime.kafka.clients import build_broker, build_consumer
from runtime.kafka.diagnosis import explain
from runtime.kafka.security import security_options
from runtime.kafka.tokens import EndpointTokens, FileTokens, TokenUnavailable
from runtime.settings import KafkaSettings, load_settings
from support.certificates import Authority, Identity
from support.token_endpoint import token_endpoint

PASSWORD = "correct-horse-battery"
LOGIN = {"KAFKA_SASL_USERNAME": "ann", "KAFKA_SASL_PASSWORD": PASSWORD}
SCRAM = {"KAFKA_SECURITY_PROTOCOL": "SASL_SSL", "KAFKA_SASL_MECHANISM": "SCRAM-SHA-512", **LOGIN}
OAUTH = {"KAFKA_SECURITY_PROTOCOL": "SASL_SSL", "KAFKA_SASL_MECHANISM": "OAUTHBEARER"}
ENDPOINT = {
    "KAFKA_SASL_TOKEN_URL": "https://login.example.org/token",
    "KAFKA_SASL_CLIENT_ID": "candlekeep",
    "KAFKA_SASL_CLIENT_SECRET": PASSWORD,
}


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "certificates", "brokers")


@pytest.fixture
def client(authority: Authority) -> Identity:
    return authority.issue("collector")


def settings_of(monkeypatch: pytest.MonkeyPatch, values: dict[str, str]) -> KafkaSettings:
    for name, value in ({"KAFKA_BOOTSTRAP_SERVERS": "kafka.example.org:9093"} | values).items():
        monkeypatch.setenv(name, value)
    return load_settings(KafkaSettings)


def refusals(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], values: dict[str, str]) -> list[str]:
    with pytest.raises(SystemExit) as exit_:
        settings_of(monkeypatch, values)
    assert exit_.value.code == 2
    text = capsys.readouterr().err
    assert PASSWORD not in text
    return text.splitlines()


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (LOGIN, "KAFKA_SASL_PASSWORD is set, but KAFKA_SECURITY_PROTOCOL is PLAINTEXT"),
        ({"KAFKA_SECURITY_PROTOCOL": "SASL_SSL", **LOGIN}, "KAFKA_SASL_MECHANISM is not set"),
        (SCRAM | {"KAFKA_SASL_PASSWORD": ""}, "KAFKA_SASL_PASSWORD is not set"),
        (SCRAM | {"KAFKA_SASL_USERNAME": ""}, "KAFKA_SASL_USERNAME is not set"),
        (SCRAM | {"KAFKA_SASL_TOKEN_FILE": "/t"}, "KAFKA_SASL_TOKEN_FILE is set, but KAFKA_SASL_MECHANISM is SCRAM"),
        (SCRAM | {"KAFKA_SASL_MECHANISM": "GSSAPI"}, "KAFKA_SASL_MECHANISM is not valid"),
        (SCRAM | {"KAFKA_SSL_CA_FILE": "/nowhere/ca.pem"}, "KAFKA_SSL_CA_FILE is not valid: cannot read /nowhere"),
        (SCRAM | {"KAFKA_SSL_KEY_FILE": "/k"}, "KAFKA_SSL_KEY_FILE is set, but KAFKA_SSL_CERTIFICATE_FILE is not"),
        ({"KAFKA_SSL_CA_FILE": "/ca"}, "without TLS: set it to SSL or SASL_SSL"),
        (SCRAM | {"KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT", "KAFKA_SASL_MECHANISM": "PLAIN"}, "unencrypted"),
        (OAUTH, "needs either KAFKA_SASL_TOKEN_FILE or KAFKA_SASL_TOKEN_URL"),
        (OAUTH | ENDPOINT | {"KAFKA_SASL_TOKEN_URL": "http://login.example.org"}, "must begin with https://"),
        (OAUTH | ENDPOINT | {"KAFKA_SASL_CLIENT_SECRET": ""}, "KAFKA_SASL_CLIENT_SECRET is not set"),
        (OAUTH | ENDPOINT | LOGIN, "KAFKA_SASL_USERNAME is set, but KAFKA_SASL_MECHANISM is OAUTHBEARER"),
    ],
)
def test_settings_that_contradict_each_other_are_explained(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], values: dict[str, str], expected: str
) -> None:
    assert any(expected in line for line in refusals(monkeypatch, capsys, values))


def test_each_problem_has_a_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    lines = refusals(monkeypatch, capsys, SCRAM | {"KAFKA_SASL_PASSWORD": "", "KAFKA_SSL_CA_FILE": "/nowhere"})
    assert [line.split()[0] for line in lines] == ["KAFKA_SSL_CA_FILE", "KAFKA_SASL_PASSWORD"]


def test_a_key_of_another_certificate_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], authority: Authority, client: Identity
) -> None:
    other = authority.issue("other")
    files = {"KAFKA_SSL_CERTIFICATE_FILE": str(client.certificate), "KAFKA_SSL_KEY_FILE": str(other.key)}
    (line,) = refusals(monkeypatch, capsys, {"KAFKA_SECURITY_PROTOCOL": "SSL", **files})
    assert line.startswith("KAFKA_SSL_CERTIFICATE_FILE is not valid")
    assert "Check KAFKA_SSL_KEY_FILE" in line


def test_an_authority_that_is_not_a_certificate_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], client: Identity
) -> None:
    (line,) = refusals(monkeypatch, capsys, SCRAM | {"KAFKA_SSL_CA_FILE": str(client.key)})
    assert line.startswith("KAFKA_SSL_CA_FILE is not valid")
    assert "no certificate" in line


def test_an_encrypted_key_needs_its_password(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], authority: Authority, tmp_path: Path
) -> None:
    encrypted = authority.issue("encrypted", password=PASSWORD)
    values = {"KAFKA_SECURITY_PROTOCOL": "SSL", "KAFKA_SSL_CERTIFICATE_FILE": str(encrypted.both)}
    (line,) = refusals(monkeypatch, capsys, values)
    assert "KAFKA_SSL_KEY_PASSWORD" in line
    (tmp_path / "password").write_text(f"{PASSWORD}\n")
    settings = settings_of(monkeypatch, values | {"KAFKA_SSL_KEY_PASSWORD_FILE": str(tmp_path / "password")})
    assert settings.kafka_tls_files.key_password == PASSWORD


async def test_the_password_comes_from_a_file_and_is_never_shown(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "password").write_text(f"{PASSWORD}\n")
    monkeypatch.delenv("KAFKA_SASL_PASSWORD", raising=False)
    values = {name: value for name, value in SCRAM.items() if name != "KAFKA_SASL_PASSWORD"}
    settings = settings_of(monkeypatch, values | {"KAFKA_SASL_PASSWORD_FILE": str(tmp_path / "password")})
    assert security_options(settings)["sasl_plain_password"] == PASSWORD
    assert PASSWORD not in repr(settings) + settings.model_dump_json() + repr(settings.kafka_tls_files)


async def test_certificates_and_host_names_are_always_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    context = security_options(settings_of(monkeypatch, SCRAM))["ssl_context"]
    assert context is not None
    assert context.check_hostname
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256"])
def test_a_login_without_tls_is_allowed_on_loopback(monkeypatch: pytest.MonkeyPatch, mechanism: str) -> None:
    values = SCRAM | {"KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT", "KAFKA_SASL_MECHANISM": mechanism}
    servers = {"KAFKA_BOOTSTRAP_SERVERS": "localhost:9092,127.0.0.1:9093,[::1]:9094"}
    assert settings_of(monkeypatch, values | servers).kafka_sasl_mechanism == mechanism


async def test_without_settings_the_clients_are_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = settings_of(monkeypatch, {})
    assert security_options(settings) == {"security_protocol": "PLAINTEXT", "ssl_context": None}
    assert build_broker(settings, "test").specification.security is None
    await build_consumer(settings, group="g", client_id="c").stop()


@pytest.mark.parametrize(
    ("error", "values", "expected", "is_refusal"),
    [
        (SaslAuthenticationFailed("no"), SCRAM, "refuses the user ann with SCRAM-SHA-512", True),
        (ValueError("Received key does not match"), SCRAM, "KAFKA_SASL_PASSWORD", True),
        (SaslAuthenticationFailed("no"), OAUTH | ENDPOINT, "refuses the token of KAFKA_SASL_TOKEN_URL", True),
        (UnsupportedSaslMechanismError("no"), SCRAM, "does not accept KAFKA_SASL_MECHANISM", True),
        (ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER]"), SCRAM, "expects KAFKA_SECURITY_PROTOCOL SASL_SSL", True),
        (TokenUnavailable("KAFKA_SASL_TOKEN_FILE: cannot read"), OAUTH | ENDPOINT, "KAFKA_SASL_TOKEN_FILE", True),
        (KafkaConnectionError("closed"), {"KAFKA_SECURITY_PROTOCOL": "SSL"}, "KAFKA_SSL_CERTIFICATE_FILE", False),
        (KafkaConnectionError("closed"), {}, "expects KAFKA_SECURITY_PROTOCOL PLAINTEXT.", False),
        (ConnectionRefusedError(111, "refused"), {}, "Kafka does not respond at k:1 (KAFKA_BOOTSTRAP_SERVERS)", False),
        (TimeoutError(), {}, "does not answer in time", False),
    ],
)
def test_the_reason_of_a_failed_connection_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, error: Exception, values: dict[str, str], expected: str, *, is_refusal: bool
) -> None:
    problem = explain(settings_of(monkeypatch, values), "k:1", error)
    assert expected in problem.sentence
    assert problem.is_refusal == is_refusal


async def test_a_token_file_is_read_for_each_connection(tmp_path: Path) -> None:
    file = tmp_path / "token"
    tokens = FileTokens(str(file))
    with pytest.raises(TokenUnavailable, match="KAFKA_SASL_TOKEN_FILE: cannot read"):
        await tokens.token()
    for token in ("first", "second"):
        file.write_text(f"{token}\n")
        assert await tokens.token() == token


async def test_a_token_of_the_endpoint_is_used_for_most_of_its_lifetime(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    async with token_endpoint() as endpoint:
        values = OAUTH | ENDPOINT | {"KAFKA_SASL_TOKEN_URL": endpoint.url, "KAFKA_SASL_TOKEN_SCOPE": "kafka"}
        tokens = EndpointTokens(settings_of(monkeypatch, values), monotonic=lambda: now[0])
        endpoint.answer = json.dumps({"access_token": "first", "expires_in": 100})
        assert await tokens.token() == "first"
        endpoint.answer = json.dumps({"access_token": "second", "expires_in": 100})
        now[0] = 79.0
        assert await tokens.token() == "first"
        now[0] = 80.0
        assert await tokens.token() == "second"
        assert (
            endpoint.requests == [("candlekeep", PASSWORD, {"grant_type": "client_credentials", "scope": "kafka"})] * 2
        )


@pytest.mark.parametrize(
    ("status", "answer", "expected"),
    [
        (401, "{}", "HTTP 401: check KAFKA_SASL_CLIENT_ID"),
        (302, "{}", "HTTP 302"),
        (200, "<html>", "sent no token"),
        (200, '{"token": "x"}', "sent no token"),
    ],
)
async def test_an_endpoint_without_a_token_is_explained(
    monkeypatch: pytest.MonkeyPatch, status: int, answer: str, expected: str
) -> None:
    async with token_endpoint() as endpoint:
        endpoint.status, endpoint.answer = status, answer
        values: dict[str, Any] = OAUTH | ENDPOINT | {"KAFKA_SASL_TOKEN_URL": endpoint.url}
        with pytest.raises(TokenUnavailable, match=expected) as raised:
            await EndpointTokens(settings_of(monkeypatch, values)).token()
    assert PASSWORD not in str(raised.value)
