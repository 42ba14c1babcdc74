"""Converts the security settings to arguments of Kafka's clients. No other module does this."""

import ssl
from typing import Any, TypedDict

from aiokafka.abc import AbstractTokenProvider
from faststream.security import BaseSecurity, SASLOAuthBearer, SASLPlaintext, SASLScram256, SASLScram512

from runtime.connections.kafka_security import KafkaSecuritySettings
from runtime.connections.tls import client_context
from runtime.kafka.tokens import EndpointTokens, FileTokens


class SecurityOptions(TypedDict, total=False):
    """Arguments of each client of aiokafka."""

    security_protocol: str
    ssl_context: ssl.SSLContext | None
    sasl_mechanism: str
    sasl_plain_username: str
    sasl_plain_password: str
    sasl_oauth_token_provider: AbstractTokenProvider


def security_options(settings: KafkaSecuritySettings) -> SecurityOptions:
    """For a consumer, a producer, or an administration client of aiokafka. Call it inside the event loop."""
    options: SecurityOptions = {
        "security_protocol": settings.kafka_security_protocol,
        "ssl_context": _context(settings),
    }
    if settings.kafka_security_protocol.startswith("SASL"):
        options["sasl_mechanism"] = settings.kafka_sasl_mechanism
        if settings.kafka_sasl_mechanism == "OAUTHBEARER":
            options["sasl_oauth_token_provider"] = _tokens(settings)
        else:
            options["sasl_plain_username"] = settings.kafka_sasl_username
            options["sasl_plain_password"] = settings.kafka_sasl_password.get_secret_value()
    return options


def broker_options(settings: KafkaSecuritySettings) -> dict[str, Any]:
    """Arguments of FastStream's `KafkaBroker`.

    The token provider is a separate argument, because it is not a part of `security`.
    """
    if settings.kafka_security_protocol == "PLAINTEXT":
        return {}
    options: dict[str, Any] = {"security": _faststream_security(settings)}
    if settings.kafka_sasl_mechanism == "OAUTHBEARER":
        options["sasl_oauth_token_provider"] = _tokens(settings)
    return options


def _faststream_security(settings: KafkaSecuritySettings) -> BaseSecurity:
    context = _context(settings)
    login = (settings.kafka_sasl_username, settings.kafka_sasl_password.get_secret_value())
    match settings.kafka_sasl_mechanism:
        case "":
            return BaseSecurity(context)
        case "PLAIN":
            return SASLPlaintext(*login, context)
        case "SCRAM-SHA-256":
            return SASLScram256(*login, context)
        case "SCRAM-SHA-512":
            return SASLScram512(*login, context)
        case "OAUTHBEARER":
            return SASLOAuthBearer(context)


def _context(settings: KafkaSecuritySettings) -> ssl.SSLContext | None:
    return client_context(settings.kafka_tls_files) if settings.kafka_security_protocol.endswith("SSL") else None


def _tokens(settings: KafkaSecuritySettings) -> AbstractTokenProvider:
    if settings.kafka_sasl_token_file:
        return FileTokens(settings.kafka_sasl_token_file)
    return EndpointTokens(settings)
