"""The doctor's checks of space, and the answers of Kafka that they read."""

from io import BytesIO
from types import SimpleNamespace

import pytest
from aiokafka.errors import ClusterAuthorizationFailedError

from admin_api.doctor.kafka_brokers import controller_time, log_folders
from admin_api.doctor.kafka_requests import DescribeLogDirs, DescribeQuorum, LogDirsResponse, QuorumResponse
from admin_api.doctor.results import State
from admin_api.doctor.space import LogFolder, database_size_check, disk_check, size_text

GIB = 1024**3


def _folder(usable: int, total: int = 100 * GIB, *, is_offline: bool = False) -> LogFolder:
    return LogFolder("/data", is_offline, used=3 * GIB, total=total, usable=usable)


@pytest.mark.parametrize(
    ("folders", "state", "word"),
    [
        ([_folder(50 * GIB)], State.OK, "50.0 GiB of 100.0 GiB (50%) free, 3.0 GiB of messages"),
        ([_folder(20 * GIB)], State.OK, "20%"),
        ([_folder(19 * GIB)], State.WARNING, "19%"),
        ([_folder(9 * GIB)], State.FAILED, "9%"),
        ([_folder(50 * GIB), _folder(0)], State.FAILED, "0 bytes of 100.0 GiB (0%) free, 6.0 GiB of messages"),
        ([_folder(50 * GIB), _folder(-1, -1, is_offline=True)], State.FAILED, "cannot use /data"),
        ([_folder(-1, -1)], State.WARNING, "does not tell"),
        ([], State.WARNING, "does not tell"),
    ],
)
def test_the_disk_of_a_broker(folders: list[LogFolder], state: State, word: str) -> None:
    check = disk_check(7, folders)
    assert (check.name, check.state) == ("disk of broker 7", state)
    assert word in check.found
    assert bool(check.advice) == (state is not State.OK)


@pytest.mark.parametrize(
    ("size", "candles", "records", "state", "word"),
    [
        (20 * GIB, 1_000, 10, State.OK, "at most 100.0 MiB of new candles per day"),
        (20 * GIB, 1_000, 100, State.WARNING, "it may double in 20 days"),
        (20 * GIB, 1_000, 100_000, State.WARNING, "it may double in 1 days"),
        (GIB, 1_000, 100, State.OK, "1.0 GiB"),
        (20 * GIB, 0, 100, State.OK, "0 bytes of new candles"),
    ],
)
def test_the_size_of_the_database(size: int, candles: int, records: int, state: State, word: str) -> None:
    check = database_size_check(size, candles, 10_000 * 1024**2, records)
    assert check.state is state
    assert word in check.found
    assert bool(check.advice) == (state is not State.OK)


def test_a_size_has_a_unit() -> None:
    assert [size_text(size) for size in (0, 1023, 1024, 1536 * 1024, 5 * 1024**4)] == [
        *("0 bytes", "1023 bytes", "1.0 KiB", "1.5 MiB", "5.0 TiB")
    ]


def test_the_time_of_the_active_controller_is_read() -> None:
    voters = [(1, 90, 5, 5, {}), (2, 95, 1_700_000_000_250, 1_700_000_000_250, {})]
    sent = QuorumResponse(0, [("__cluster_metadata", [(0, 0, 2, 3, 95, voters, [], {})], {})], {}).encode()
    found = controller_time(QuorumResponse.decode(BytesIO(sent)))
    assert found.isoformat(timespec="milliseconds") == "2023-11-14T22:13:20.250+00:00"


def test_a_cluster_without_an_active_controller_is_an_error() -> None:
    voters = [(1, 90, 5, 5, {})]
    sent = QuorumResponse(0, [("__cluster_metadata", [(0, 0, -1, 3, 95, voters, [], {})], {})], {}).encode()
    with pytest.raises(ValueError, match="no active controller"):
        controller_time(QuorumResponse.decode(BytesIO(sent)))


def test_the_folders_of_a_broker_are_read() -> None:
    partitions = [(0, 40, 0, False, {}), (1, 2, 0, False, {})]
    folders = [(0, "/one", [("ticks", partitions, {})], 1_000, 600, {}), (56, "/two", [], -1, -1, {})]
    sent = LogDirsResponse(0, 0, folders, {}).encode()
    assert log_folders(LogDirsResponse.decode(BytesIO(sent))) == [
        LogFolder("/one", is_offline=False, used=42, total=1_000, usable=600),
        LogFolder("/two", is_offline=True, used=0, total=-1, usable=-1),
    ]


def test_a_refusal_is_an_error() -> None:
    with pytest.raises(ClusterAuthorizationFailedError):
        log_folders(SimpleNamespace(error_code=31))
    with pytest.raises(ClusterAuthorizationFailedError):
        controller_time(SimpleNamespace(error_code=31))


def test_the_requests_have_the_bytes_of_the_protocol() -> None:
    """No topics mean all; a list is one longer than its items, and each structure ends with its tags."""
    assert DescribeLogDirs().prepare({35: (1, 4)}).encode() == b"\x00\x00"
    name = b"\x13__cluster_metadata"
    assert DescribeQuorum().prepare({55: (0, 2)}).encode() == b"\x02" + name + b"\x02" + bytes(4) + b"\x00\x00\x00"
