"""Finds the reason why no broker can be used. aiokafka's clients only log this reason, and raise an error without
it.
"""

import asyncio
import ssl
from dataclasses import dataclass
from typing import Final, NamedTuple

from aiokafka.errors import (
    AuthenticationFailedError,
    IllegalSaslStateError,
    KafkaConnectionError,
    KafkaError,
    SaslAuthenticationFailed,
    UnsupportedSaslMechanismError,
)
from typing_extensions import override

from runtime.kafka.aiokafka_internals import check_connection
from runtime.kafka.security import security_options
from runtime.kafka.tokens import TokenUnavailable
from runtime.settings import KafkaSettings

_ATTEMPT_SECONDS: Final = 10.0
_REFUSED_LOGIN = (SaslAuthenticationFailed, AuthenticationFailedError, IllegalSaslStateError)


@dataclass(frozen=True)
class KafkaProblem:
    """The reason why no broker can be used."""

    sentence: str
    """The problem and its solution, as a sentence for people."""
    is_refusal: bool
    """Whether a broker answers but refuses this client, or the client refuses the broker. Waiting does not help."""


class NoConnection(KafkaConnectionError):  # type: ignore[misc] # noqa: N818 -- the name states the problem
    """A client cannot connect to any bootstrap server."""

    def __init__(self, problem: KafkaProblem) -> None:
        super().__init__(problem.sentence)
        self.problem = problem

    @override
    def __str__(self) -> str:
        return self.problem.sentence


class _Failure(NamedTuple):
    server: str
    error: Exception


async def find_problem(settings: KafkaSettings) -> KafkaProblem | None:
    """Connect to each bootstrap server, one after the other. None if one of them accepts this client."""
    failures = []
    for server in settings.kafka_bootstrap_servers.split(","):
        try:
            async with asyncio.timeout(_ATTEMPT_SECONDS):
                await check_connection(server, dict(security_options(settings)))
        except (KafkaError, OSError, TimeoutError, ValueError) as error:  # aiokafka raises ValueError for bad SCRAM
            failures.append(_Failure(server, error))
        else:
            return None
    problems = [explain(settings, each.server, each.error) for each in failures]
    # Report a refusal first: it explains the problem better than another broker that is down.
    return next((problem for problem in problems if problem.is_refusal), problems[0])


def explain(settings: KafkaSettings, server: str, error: Exception) -> KafkaProblem:
    """The problem that caused the error of one connection. Pure."""
    if (refusal := _refusal(settings, server, error)) is not None:
        return KafkaProblem(refusal, is_refusal=True)
    protocol = settings.kafka_security_protocol
    if isinstance(error, (KafkaConnectionError, ConnectionResetError)):
        text = (
            f"{server} closed the connection. If this does not pass, check that this port expects "
            f"KAFKA_SECURITY_PROTOCOL {protocol}{_client_certificate_hint(settings)}."
        )
    elif isinstance(error, TimeoutError):
        text = f"{server} does not answer in time. Check that the broker runs and that this port expects {protocol}."
    else:
        text = f"Kafka does not respond at {server} (KAFKA_BOOTSTRAP_SERVERS): {error}"
    return KafkaProblem(text, is_refusal=False)


def _refusal(settings: KafkaSettings, server: str, error: Exception) -> str | None:
    mechanism = settings.kafka_sasl_mechanism
    match error:
        case TokenUnavailable():
            return str(error)
        case ssl.SSLCertVerificationError():
            return _untrusted(settings, server, error)
        case ssl.SSLError():
            return (
                f"{server} and this client found no common TLS ({_reason(error)}). Check that this port expects "
                f"KAFKA_SECURITY_PROTOCOL {settings.kafka_security_protocol}{_client_certificate_hint(settings)}."
            )
        case UnsupportedSaslMechanismError():
            return f"{server} does not accept KAFKA_SASL_MECHANISM {mechanism}. Set one that the broker has enabled."
        case _ if isinstance(error, _REFUSED_LOGIN) or (isinstance(error, ValueError) and mechanism):
            return _refused_login(settings, server)
        case _:
            return None


def _reason(error: ssl.SSLError) -> str:
    return getattr(error, "reason", None) or str(error)


def _untrusted(settings: KafkaSettings, server: str, error: ssl.SSLCertVerificationError) -> str:
    reason = error.verify_message
    if "ostname mismatch" in reason or "IP address mismatch" in reason:
        return (
            f"The certificate of {server} is for another name. Use a name of the certificate in "
            "KAFKA_BOOTSTRAP_SERVERS and in the broker's advertised.listeners, or issue a certificate with this name."
        )
    if "expired" in reason or "not yet valid" in reason:
        return f"The certificate of {server} cannot be used ({reason}). Renew it, and check the clocks."
    authorities = settings.kafka_ssl_ca_file or "the operating system's authorities"
    return (
        f"The certificate of {server} is not signed by {authorities} ({reason}). Set KAFKA_SSL_CA_FILE to the "
        "authorities of the brokers."
    )


def _refused_login(settings: KafkaSettings, server: str) -> str:
    if settings.kafka_sasl_mechanism == "OAUTHBEARER":
        source = "KAFKA_SASL_TOKEN_FILE" if settings.kafka_sasl_token_file else "KAFKA_SASL_TOKEN_URL"
        return f"{server} refuses the token of {source}. Check its issuer, audience and expiry."
    return (
        f"{server} refuses the user {settings.kafka_sasl_username} with {settings.kafka_sasl_mechanism}. Check "
        "KAFKA_SASL_USERNAME and KAFKA_SASL_PASSWORD."
    )


def _client_certificate_hint(settings: KafkaSettings) -> str:
    if not settings.kafka_security_protocol.endswith("SSL"):
        return ""
    if not settings.kafka_ssl_certificate_file:
        return ", and set KAFKA_SSL_CERTIFICATE_FILE and KAFKA_SSL_KEY_FILE if it requires a client certificate"
    return ", and that the broker trusts the certificate in KAFKA_SSL_CERTIFICATE_FILE"
