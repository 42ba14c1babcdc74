"""Two further listeners of a single broker: one for clients with a certificate, one for clients with a login."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from local_stack.kafka_properties import KafkaPorts
from local_stack.ports import LOOPBACK

HOST = "localhost"
"""The name that the broker advertises on these listeners, so its certificate needs it."""

_SECURE = """\
listeners=PLAINTEXT://{loopback}:{broker},CONTROLLER://{loopback}:{controller},TLS://{loopback}:{tls},LOGIN://{loopback}:{login}
advertised.listeners=PLAINTEXT://{loopback}:{broker},TLS://{host}:{tls},LOGIN://{host}:{login}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,TLS:SSL,LOGIN:SASL_SSL
ssl.keystore.type=PEM
ssl.keystore.location={certificate}
ssl.truststore.type=PEM
ssl.truststore.location={authority}
listener.name.tls.ssl.client.auth=required
listener.name.login.sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER
listener.name.login.plain.sasl.jaas.config={plain} required {users};
listener.name.login.scram-sha-256.sasl.jaas.config={scram} required;
listener.name.login.scram-sha-512.sasl.jaas.config={scram} required;
listener.name.login.oauthbearer.sasl.jaas.config={oauth} required unsecuredLoginStringClaim_sub="broker";
"""
_MODULES = "org.apache.kafka.common.security"


@dataclass(frozen=True, kw_only=True)
class SecureListeners:
    """`certificate` is a PEM file with the broker's key and certificate for `localhost`. `authority` signs the
    certificates of clients. `users` are passwords by name, for PLAIN and SCRAM. Tokens need no signature.
    """

    tls_port: int
    login_port: int
    certificate: Path
    authority: Path
    users: Mapping[str, str]


def secure_properties(secure: SecureListeners, ports: KafkaPorts) -> str:
    """Lines to append to server.properties. In a properties file, the last value of a name counts."""
    return _SECURE.format(
        loopback=LOOPBACK,
        host=HOST,
        broker=ports.broker,
        controller=ports.controller,
        tls=secure.tls_port,
        login=secure.login_port,
        certificate=secure.certificate,
        authority=secure.authority,
        plain=f"{_MODULES}.plain.PlainLoginModule",
        scram=f"{_MODULES}.scram.ScramLoginModule",
        oauth=f"{_MODULES}.oauthbearer.OAuthBearerLoginModule",
        users=" ".join(f'user_{name}="{password}"' for name, password in secure.users.items()),
    )


def scram_options(secure: SecureListeners) -> tuple[str, ...]:
    """Options of Kafka's format tool, which stores the users of SCRAM."""
    return tuple(
        f"--add-scram={mechanism}=[name={name},password={password}]"
        for mechanism in ("SCRAM-SHA-256", "SCRAM-SHA-512")
        for name, password in secure.users.items()
    )
