"""A real Kafka and a real Postgres that accept only encrypted connections, with certificates made for them."""

import secrets
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from local_stack.kafka_real import RealKafka
from local_stack.kafka_secure_listeners import HOST, SecureListeners
from local_stack.ports import free_port
from local_stack.postgres import DATABASE, SUPERUSER, Postgres, PostgresPlace
from local_stack.postgres_binaries import unprivileged_user
from support.certificates import Authority, Identity

USER = "ann"
CERTIFIED_ROLE = "certified"
"""The role of Postgres that logs in with its certificate."""


@dataclass(frozen=True)
class SecureKafka:
    """`LOGIN` asks for a login, `TLS` for a client's certificate. Both have a certificate for localhost only."""

    login_port: int
    tls_port: int
    password: str
    authority: Path
    client: Identity

    @property
    def login(self) -> dict[str, str]:
        """The environment of a client that logs in with SCRAM-SHA-512."""
        return {
            "KAFKA_BOOTSTRAP_SERVERS": f"{HOST}:{self.login_port}",
            "KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
            "KAFKA_SASL_MECHANISM": "SCRAM-SHA-512",
            "KAFKA_SASL_USERNAME": USER,
            "KAFKA_SASL_PASSWORD": self.password,
            "KAFKA_SSL_CA_FILE": str(self.authority),
        }

    @property
    def mutual_tls(self) -> dict[str, str]:
        """The environment of a client that shows its certificate."""
        return {
            "KAFKA_BOOTSTRAP_SERVERS": f"{HOST}:{self.tls_port}",
            "KAFKA_SECURITY_PROTOCOL": "SSL",
            "KAFKA_SSL_CA_FILE": str(self.authority),
            "KAFKA_SSL_CERTIFICATE_FILE": str(self.client.certificate),
            "KAFKA_SSL_KEY_FILE": str(self.client.key),
        }


@asynccontextmanager
async def secure_kafka(folder: Path) -> AsyncIterator[SecureKafka]:
    """Raises `NoRealKafka` if this machine cannot run Kafka."""
    brokers, clients = Authority(folder / "brokers", "brokers"), Authority(folder / "clients", "clients")
    listeners = SecureListeners(
        tls_port=free_port(),
        login_port=free_port(),
        certificate=brokers.issue(HOST).both,
        authority=clients.file,
        users={USER: secrets.token_hex(16)},
    )
    kafka = await RealKafka.start(data=folder / "data", logs=folder, run=folder / "run", secure=listeners)
    try:
        yield SecureKafka(
            listeners.login_port, listeners.tls_port, listeners.users[USER], brokers.file, clients.issue("collector")
        )
    finally:
        await kafka.stop()


@dataclass(frozen=True)
class SecurePostgres:
    """`url` is that of the superuser, without TLS parameters. The certificate is for localhost only."""

    url: str
    authority: Path
    client: Identity
    """Proves the role `certified`."""

    @property
    def verified(self) -> dict[str, str]:
        """The environment of a client that checks the server."""
        return {
            "DATABASE_URL": self.url,
            "DATABASE_SSL_MODE": "verify-full",
            "DATABASE_SSL_CA_FILE": str(self.authority),
        }


@asynccontextmanager
async def secure_postgres(folder: Path) -> AsyncIterator[SecurePostgres]:
    folder.chmod(0o711)  # Postgres runs as an unprivileged user
    servers, clients = Authority(folder / "servers", "servers"), Authority(folder / "clients", "clients")
    server = servers.issue("localhost")
    # `trust` for the superuser, because only tests reach this port. Connections without TLS are refused.
    rules = folder / "pg_hba.conf"
    rules.write_text(f"hostssl all {CERTIFIED_ROLE} all cert\nhostssl all all all trust\n")
    if user := unprivileged_user():
        for file in (server.key, server.certificate, clients.file, rules):
            shutil.chown(file, user)
    place = PostgresPlace(
        data=folder / "data",
        logs=folder,
        run=folder / "run",
        durable=False,
        settings={
            "ssl": "on",
            "ssl_cert_file": str(server.certificate),
            "ssl_key_file": str(server.key),
            "ssl_ca_file": str(clients.file),
            "hba_file": str(rules),
        },
    )
    postgres = await Postgres.start(place, print)
    try:
        url = f"postgresql://{SUPERUSER}@localhost:{postgres.port}/{DATABASE}"
        yield SecurePostgres(url, servers.file, clients.issue(CERTIFIED_ROLE))
    finally:
        await postgres.stop()
