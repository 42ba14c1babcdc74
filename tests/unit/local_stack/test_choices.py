"""The choice of Java, Kafka and Postgres, without starting them."""

from pathlib import Path

import pytest

from local_stack.demo import demo_token
from local_stack.errors import StackError
from local_stack.folder import Folder
from local_stack.kafka_jars import NoRealKafka, find_java, java_major, kafka_version
from local_stack.keep_alive import MAX_PAUSE_SECONDS, restart_pause
from local_stack.ports import require_free
from local_stack.postgres_binaries import PostgresBinaries, choose

DATA = Path("/data/postgres")


def postgres(version: int, origin: str = "this machine's") -> PostgresBinaries:
    return PostgresBinaries(Path(f"/pg/{version}/bin"), version, origin)


@pytest.mark.parametrize(
    ("banner", "version"),
    [
        ('openjdk version "17.0.15" 2025-04-15\nOpenJDK Runtime', 17),
        ('java version "1.8.0_402"', 8),
        ('openjdk version "25" 2025-09-16', 25),
        ("No Java runtime present, requesting install.", None),
    ],
)
def test_the_version_of_java_is_read_from_its_output(banner: str, version: int | None) -> None:
    assert java_major(banner) == version


def test_the_version_of_kafka_is_read_from_the_pom() -> None:
    assert kafka_version().startswith("4.1.")


def a_java(folder: Path, version: str) -> None:
    folder.mkdir(parents=True)
    (folder / "java").write_text(f"#!/bin/sh\necho 'openjdk version \"{version}\"' >&2\n")
    (folder / "java").chmod(0o755)


def test_a_new_java_in_java_home_is_preferred_to_an_old_java_on_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a_java(tmp_path / "old", "11.0.2")
    a_java(tmp_path / "home" / "bin", "21.0.1")
    monkeypatch.setenv("PATH", str(tmp_path / "old"))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    with pytest.raises(NoRealKafka, match="Java 11 is too old, Kafka needs 17"):
        find_java()
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "home"))
    assert find_java().version == 21


def test_a_missing_java_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    with pytest.raises(NoRealKafka, match="there is no java on PATH"):
        find_java()


def test_the_newest_postgres_of_the_machine_is_preferred_to_the_wheel() -> None:
    offered = [postgres(15), postgres(17), postgres(18, "the wheel's")]
    assert choose(offered, None, DATA).version == 17


def test_the_postgres_of_the_wheel_replaces_one_that_is_too_old() -> None:
    assert choose([postgres(11), postgres(18, "the wheel's")], None, DATA).version == 18


def test_existing_data_needs_the_version_that_created_it() -> None:
    offered = [postgres(15), postgres(17)]
    assert choose(offered, 15, DATA).version == 15
    with pytest.raises(StackError, match=r"/data/postgres was created by Postgres 16.*remove that folder"):
        choose(offered, 16, DATA)


def test_a_missing_postgres_is_reported() -> None:
    with pytest.raises(StackError, match="no Postgres 14 or newer"):
        choose([], None, DATA)


def test_all_taken_ports_are_reported_together() -> None:
    wanted = {"admin-api": 8000, "Kafka": 19092, "Postgres": 15432}
    with pytest.raises(StackError, match=r"port 8000 \(admin-api\).*; port 15432 \(Postgres\).*; do something"):
        require_free(wanted, "do something", is_free=lambda port: port == 19092)
    require_free(wanted, "do something", is_free=lambda _: True)


def test_the_pause_before_a_restart_grows_up_to_a_limit() -> None:
    pauses = [restart_pause(failures) for failures in range(1, 12)]
    assert pauses[:3] == [0.5, 1.0, 2.0]
    assert pauses == sorted(pauses)
    assert pauses[-1] == MAX_PAUSE_SECONDS


def test_the_token_of_the_environment_is_used_and_a_short_one_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CANDLEKEEP_ADMIN_TOKEN", "a" * 24)
    assert demo_token() == "a" * 24
    monkeypatch.setenv("CANDLEKEEP_ADMIN_TOKEN", "short")
    with pytest.raises(StackError, match="CANDLEKEEP_ADMIN_TOKEN has 5 characters; it needs at least 24"):
        demo_token()
    monkeypatch.delenv("CANDLEKEEP_ADMIN_TOKEN")
    assert len(demo_token()) >= 24
    assert demo_token() != demo_token()


def test_only_the_owner_can_read_secrets_and_the_password_does_not_change(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "demo")
    folder.prepare()
    password = folder.postgres_password()
    passwords = folder.database_passwords()
    for token in ("first", "second"):
        urls = {"reader": "postgresql://a:b@c/d", "tokens": "postgresql://e:f@c/d"}
        folder.publish(token=token, database_urls=urls, kafka="127.0.0.1:19092")
    assert (folder.path / "token").read_text() == "second\n"
    assert (folder.path / "kafka").read_text() == "127.0.0.1:19092\n"
    assert (folder.path / "database_url").read_text() == "postgresql://a:b@c/d\n"
    secrets = (
        "token",
        "database_url",
        "database_urls/tokens",
        "data/postgres.password",
        "data/database-passwords.json",
    )
    for secret in secrets:
        assert (folder.path / secret).stat().st_mode & 0o777 == 0o600
    assert Folder(tmp_path / "demo").postgres_password() == password
    assert Folder(tmp_path / "demo").database_passwords() == passwords
    assert len(set(passwords.values())) == len(passwords)
