"""Clients of a real Kafka over TLS: each kind of login works, and each mistake is explained."""

import asyncio
import base64
import json
import time
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from contracts.topics import EXCHANGE_HEALTH
from runtime.dead_letters.__main__ import app as dead_letters_app
from runtime.kafka.clients import build_broker, build_consumer, build_producer, topic_name
from runtime.kafka.topics import app as topics_app
from runtime.settings import KafkaSettings
from support.certificates import Authority
from support.secure_services import USER, SecureKafka

pytestmark = pytest.mark.real_kafka

TOPIC = EXCHANGE_HEALTH
LOGINS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER", "certificate")


def _settings(environment: dict[str, str]) -> KafkaSettings:
    return KafkaSettings(**{name.lower(): value for name, value in environment.items()})  # type: ignore[arg-type]


def _unsigned_token() -> str:
    """Kafka's default check for development accepts tokens without a signature."""
    now = time.time()
    parts = ({"alg": "none"}, {"sub": USER, "iat": now, "exp": now + 300})
    return ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts) + "."


def _environment(kafka: SecureKafka, login: str, folder: Path) -> dict[str, str]:
    if login == "certificate":
        return kafka.mutual_tls
    if login == "OAUTHBEARER":
        (folder / "token").write_text(_unsigned_token())
        names = ("KAFKA_BOOTSTRAP_SERVERS", "KAFKA_SECURITY_PROTOCOL", "KAFKA_SSL_CA_FILE")
        own = {"KAFKA_SASL_MECHANISM": login, "KAFKA_SASL_TOKEN_FILE": str(folder / "token")}
        return {name: kafka.login[name] for name in names} | own
    return kafka.login | {"KAFKA_SASL_MECHANISM": login}


@pytest.mark.parametrize("login", LOGINS)
async def test_each_login_produces_and_consumes(kafka: SecureKafka, login: str, tmp_path: Path) -> None:
    settings = _settings(_environment(kafka, login, tmp_path))
    name = topic_name(settings, TOPIC)
    producer = build_producer(settings, client_id="test")
    await producer.start()
    try:
        await producer.send_and_wait(name, key=login.encode(), value=b"from aiokafka")
    finally:
        await producer.stop()
    consumer = build_consumer(settings, group=f"aiokafka-{login}", client_id="test")
    await consumer.start()
    try:
        consumer.subscribe([name])
        async with asyncio.timeout(60):
            async for record in consumer:
                if (record.key, record.value) == (login.encode(), b"from aiokafka"):
                    break
    finally:
        await consumer.stop()


@pytest.mark.parametrize("login", LOGINS)
async def test_each_login_works_in_faststream(kafka: SecureKafka, login: str, tmp_path: Path) -> None:
    settings = _settings(_environment(kafka, login, tmp_path))
    broker = build_broker(settings, "test")
    received: asyncio.Queue[Any] = asyncio.Queue()
    options: Any = {"group_id": f"faststream-{login}", "auto_offset_reset": "earliest"}

    @broker.subscriber(topic_name(settings, TOPIC), no_reply=True, **options)
    async def receive(message: Any) -> None:
        await received.put(message)

    text = f"{login} through FastStream"
    async with asyncio.timeout(60):
        await broker.start()
        try:
            await broker.publish(text, topic_name(settings, TOPIC), key=b"key")
            while await received.get() not in {text, text.encode()}:
                pass
        finally:
            await broker.stop()


MISTAKES = {
    "wrong authority": "KAFKA_SSL_CA_FILE",
    "wrong host name": "is for another name",
    "wrong password": f"refuses the user {USER} with SCRAM-SHA-512. Check KAFKA_SASL_USERNAME and KAFKA_SASL_PASSWORD",
    "no TLS": "check that this port expects KAFKA_SECURITY_PROTOCOL PLAINTEXT",
    "login at the port for certificates": "KAFKA_SECURITY_PROTOCOL SASL_SSL",
    "no client certificate": "set KAFKA_SSL_CERTIFICATE_FILE and KAFKA_SSL_KEY_FILE",
    "certificate of a stranger": "trusts the certificate in KAFKA_SSL_CERTIFICATE_FILE",
}


def _with_mistake(kafka: SecureKafka, mistake: str, folder: Path) -> dict[str, str]:
    stranger = Authority(folder / "strangers", "strangers")
    unknown = stranger.issue("stranger")
    servers = {
        name: each["KAFKA_BOOTSTRAP_SERVERS"] for name, each in (("login", kafka.login), ("tls", kafka.mutual_tls))
    }
    without_files = {"KAFKA_SSL_CERTIFICATE_FILE": "", "KAFKA_SSL_KEY_FILE": ""}
    other_files = {"KAFKA_SSL_CERTIFICATE_FILE": str(unknown.certificate), "KAFKA_SSL_KEY_FILE": str(unknown.key)}
    return {
        "wrong authority": kafka.login | {"KAFKA_SSL_CA_FILE": str(stranger.file)},
        "wrong host name": kafka.login | {"KAFKA_BOOTSTRAP_SERVERS": f"127.0.0.1:{kafka.login_port}"},
        "wrong password": kafka.login | {"KAFKA_SASL_PASSWORD": "hunter2"},
        "no TLS": {"KAFKA_BOOTSTRAP_SERVERS": servers["login"]},
        "login at the port for certificates": kafka.login | {"KAFKA_BOOTSTRAP_SERVERS": servers["tls"]},
        "no client certificate": kafka.mutual_tls | without_files,
        "certificate of a stranger": kafka.mutual_tls | other_files,
    }[mistake]


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_command_explains_each_mistake_in_one_line(
    kafka: SecureKafka, mistake: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in _with_mistake(kafka, mistake, tmp_path).items():
        monkeypatch.setenv(name, value)
    for app, command in ((topics_app, "describe"), (dead_letters_app, "list")):
        done = CliRunner().invoke(app, [command])
        assert done.exit_code == 1, done.output
        (line,) = done.stderr.splitlines()
        assert MISTAKES[mistake] in line
        assert "hunter2" not in line
