"""Connections to a real Postgres over TLS: the server is checked, and each mistake is explained."""

import os
import ssl
import subprocess
import sys
from pathlib import Path

import asyncpg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from runtime.database import ServerNotTrusted, build_engine
from runtime.settings import DatabaseSettings
from support.certificates import Authority
from support.secure_services import CERTIFIED_ROLE, SecurePostgres

pytestmark = pytest.mark.postgres


async def _session(environment: dict[str, str]) -> tuple[str, bool]:
    """The user of a session, and whether it is encrypted."""
    settings = DatabaseSettings(**{name.lower(): value for name, value in environment.items()})  # type: ignore[arg-type]
    engine = build_engine(settings)
    try:
        async with engine.connect() as connection:
            query = "SELECT current_user, ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
            return tuple((await connection.execute(text(query))).one())
    finally:
        await engine.dispose()


async def test_a_verified_connection_is_encrypted(postgres: SecurePostgres) -> None:
    assert await _session(postgres.verified) == ("candlekeep", True)


async def test_the_parameters_of_the_url_mean_the_same(postgres: SecurePostgres) -> None:
    url = f"{postgres.url}?sslmode=verify-full&sslrootcert={postgres.authority}"
    assert await _session({"DATABASE_URL": url}) == ("candlekeep", True)


async def test_a_role_can_log_in_with_its_certificate(postgres: SecurePostgres) -> None:
    files = {
        "DATABASE_SSL_CERTIFICATE_FILE": str(postgres.client.certificate),
        "DATABASE_SSL_KEY_FILE": str(postgres.client.key),
    }
    url = postgres.url.replace("//candlekeep@", f"//{CERTIFIED_ROLE}@")
    with pytest.raises(DBAPIError, match="certificate"):
        await _session(postgres.verified | {"DATABASE_URL": url})
    async with _superuser(postgres) as connection:
        await connection.execute(f"CREATE ROLE {CERTIFIED_ROLE} LOGIN")
    assert await _session(postgres.verified | {"DATABASE_URL": url} | files) == (CERTIFIED_ROLE, True)


def _superuser(postgres: SecurePostgres) -> "asyncpg.pool.Pool":
    context = ssl.create_default_context(cafile=str(postgres.authority))
    return asyncpg.create_pool(postgres.url, min_size=1, max_size=1, ssl=context)


async def test_a_wrong_authority_is_refused(postgres: SecurePostgres, tmp_path: Path) -> None:
    stranger = Authority(tmp_path, "strangers")
    with pytest.raises(ServerNotTrusted, match="DATABASE_SSL_CA_FILE"):
        await _session(postgres.verified | {"DATABASE_SSL_CA_FILE": str(stranger.file)})


async def test_a_wrong_host_name_is_refused_unless_only_the_authority_is_checked(postgres: SecurePostgres) -> None:
    elsewhere = postgres.verified | {"DATABASE_URL": postgres.url.replace("@localhost:", "@127.0.0.1:")}
    with pytest.raises(ServerNotTrusted, match="IP address mismatch"):
        await _session(elsewhere)
    assert await _session(elsewhere | {"DATABASE_SSL_MODE": "verify-ca"}) == ("candlekeep", True)


async def test_without_tls_the_server_refuses_the_client(postgres: SecurePostgres) -> None:
    with pytest.raises(DBAPIError, match="no encryption"):
        await _session({"DATABASE_URL": postgres.url, "DATABASE_SSL_MODE": "disable"})


def _store(command: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "store", command],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=170,
        check=False,
    )


def test_roles_and_migrations_use_tls(postgres: SecurePostgres, tmp_path: Path) -> None:
    wrong = postgres.verified | {"DATABASE_SSL_CA_FILE": str(Authority(tmp_path, "strangers").file)}
    refused = _store("roles", wrong)
    assert (refused.returncode, refused.stdout) == (1, "")
    (line,) = refused.stderr.splitlines()
    assert line.startswith("store: cannot make the roles in the database of DATABASE_URL: ")
    assert "DATABASE_SSL_CA_FILE" in line
    for command in ("roles", "upgrade", "check"):
        done = _store(command, postgres.verified)
        assert done.returncode == 0, done.stderr
