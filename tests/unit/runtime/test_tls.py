"""TLS contexts, and the settings of TLS to Postgres."""

import asyncio
import shutil
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import uvloop

from runtime.connections.tls import TlsFiles, client_context
from runtime.database import async_url, open_engine
from runtime.settings import DatabaseSettings, load_settings
from support.certificates import Authority, Identity

PASSWORD = "correct-horse-battery"
URL = "postgresql://ann@db.example.org/market"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "certificates", "authority")


@asynccontextmanager
async def _server(authority: Authority) -> AsyncIterator[Callable[[ssl.SSLContext], "asyncio.Future[str]"]]:
    """Gives a function that connects and returns the name in the client's certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.issue("localhost").both)
    context.load_verify_locations(authority.file)
    context.verify_mode = ssl.CERT_REQUIRED

    async def answer(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        certificate = writer.get_extra_info("peercert")
        writer.write(certificate["subject"][0][0][1].encode())
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]

    async def peer(client: ssl.SSLContext) -> str:
        reader, writer = await asyncio.open_connection("localhost", port, ssl=client)
        try:
            return (await reader.read()).decode()
        finally:
            writer.close()

    async with server:
        yield lambda client: asyncio.ensure_future(peer(client))


def _place(identity: Identity, folder: Path) -> TlsFiles:
    """Copy the files to where a client expects them, as a renewal does."""
    shutil.copy(identity.certificate, folder / "client.crt")
    shutil.copy(identity.key, folder / "client.key")
    return TlsFiles(certificate=str(folder / "client.crt"), key=str(folder / "client.key"))


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_renewed_certificates_are_used_for_the_next_connection(
    authority: Authority, tmp_path: Path, loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    async def connect() -> None:
        files = _place(authority.issue("first"), tmp_path)
        context = client_context(TlsFiles(ca=str(authority.file), certificate=files.certificate, key=files.key))
        async with _server(authority) as peer:
            assert await peer(context) == "first"
            (tmp_path / "client.key").write_text("half a fi")
            assert await peer(context) == "first"
            _place(authority.issue("second"), tmp_path)
            assert await peer(context) == "second"

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(connect())


def _settings(monkeypatch: pytest.MonkeyPatch, values: dict[str, str]) -> DatabaseSettings:
    for name, value in ({"DATABASE_URL": URL} | values).items():
        monkeypatch.setenv(name, value)
    return load_settings(DatabaseSettings)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"DATABASE_SSL_MODE": "full"}, "DATABASE_SSL_MODE is not valid"),
        ({"DATABASE_URL": f"{URL}?sslmode=verify"}, "sslmode=verify, which is not one of"),
        (
            {"DATABASE_URL": f"{URL}?sslmode=require", "DATABASE_SSL_MODE": "verify-full"},
            "contains sslmode, and DATABASE_SSL_MODE is set, too",
        ),
        ({"DATABASE_SSL_CA_FILE": "/ca"}, "may connect without TLS, but DATABASE_SSL_CA_FILE is set"),
        ({"DATABASE_URL": f"{URL}?sslrootcert=/ca"}, "may connect without TLS, but sslrootcert in DATABASE_URL is set"),
        ({"DATABASE_SSL_MODE": "verify-full", "DATABASE_SSL_CA_FILE": "/nowhere"}, "cannot read /nowhere"),
        (
            {"DATABASE_SSL_MODE": "verify-full", "DATABASE_SSL_KEY_FILE": "/key"},
            "DATABASE_SSL_KEY_FILE is set, but DATABASE_SSL_CERTIFICATE_FILE is not",
        ),
    ],
)
def test_settings_of_postgres_that_contradict_each_other_are_explained(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], values: dict[str, str], expected: str
) -> None:
    with pytest.raises(SystemExit):
        _settings(monkeypatch, values | {"DATABASE_PASSWORD": PASSWORD})
    (line,) = capsys.readouterr().err.splitlines()
    assert expected in line
    assert PASSWORD not in line


@pytest.mark.parametrize(
    ("mode", "checks", "checks_host"),
    [("require", False, False), ("verify-ca", True, False), ("verify-full", True, True)],
)
async def test_each_mode_checks_what_libpq_checks(
    monkeypatch: pytest.MonkeyPatch, mode: str, *, checks: bool, checks_host: bool
) -> None:
    settings = _settings(monkeypatch, {"DATABASE_SSL_MODE": mode, "DATABASE_PASSWORD": PASSWORD})
    url = settings.database_url.get_secret_value()
    assert url == f"postgresql://ann:{PASSWORD}@db.example.org/market?sslmode={mode}"
    assert async_url(url).render_as_string() == "postgresql+asyncpg://ann:***@db.example.org/market"
    given: list[ssl.SSLContext] = []
    monkeypatch.setattr(
        "runtime.database.create_async_engine", lambda _url, connect_args: given.append(connect_args["ssl"])
    )
    open_engine(url, {})
    assert (given[0].verify_mode is ssl.CERT_REQUIRED, given[0].check_hostname) == (checks, checks_host)


async def test_require_checks_the_authority_that_is_named(
    monkeypatch: pytest.MonkeyPatch, authority: Authority
) -> None:
    settings = _settings(monkeypatch, {"DATABASE_SSL_MODE": "require", "DATABASE_SSL_CA_FILE": str(authority.file)})
    given: list[ssl.SSLContext] = []
    monkeypatch.setattr(
        "runtime.database.create_async_engine", lambda _url, connect_args: given.append(connect_args["ssl"])
    )
    open_engine(settings.database_url.get_secret_value(), {})
    assert given[0].verify_mode is ssl.CERT_REQUIRED
