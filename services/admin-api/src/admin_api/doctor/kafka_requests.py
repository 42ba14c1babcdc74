"""Two requests of Kafka's protocol that aiokafka does not have. Both only read.

The layouts follow Kafka's DescribeLogDirsRequest.json (version 4, Kafka 3.3) and DescribeQuorumRequest.json (version 1,
Kafka 3.3), and the files of their responses.
"""

from typing import ClassVar, Final

from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import (
    Boolean,
    CompactArray,
    CompactString,
    Int16,
    Int32,
    Int64,
    Schema,
    TaggedFields,
)
from typing_extensions import override

_METADATA_TOPIC: Final = "__cluster_metadata"
_TEXT: Final = CompactString("utf-8")


class LogDirsResponse(Response):  # type: ignore[misc]  # aiokafka has no types
    API_KEY = 35
    API_VERSION = 4
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        ("error_code", Int16),
        (
            "results",
            CompactArray(
                ("error_code", Int16),
                ("log_dir", _TEXT),
                (
                    "topics",
                    CompactArray(
                        ("name", _TEXT),
                        (
                            "partitions",
                            CompactArray(
                                ("partition_index", Int32),
                                ("partition_size", Int64),
                                ("offset_lag", Int64),
                                ("is_future_key", Boolean),
                                ("tags", TaggedFields),
                            ),
                        ),
                        ("tags", TaggedFields),
                    ),
                ),
                ("total_bytes", Int64),
                ("usable_bytes", Int64),
                ("tags", TaggedFields),
            ),
        ),
        ("tags", TaggedFields),
    )


class LogDirsRequestStruct(RequestStruct):  # type: ignore[misc]  # aiokafka has no types
    FLEXIBLE_VERSION: ClassVar[bool] = True
    API_KEY = 35
    API_VERSION = 4
    RESPONSE_TYPE = LogDirsResponse
    SCHEMA = Schema(
        (
            "topics",
            CompactArray(("topic", _TEXT), ("partitions", CompactArray(Int32)), ("tags", TaggedFields)),
        ),
        ("tags", TaggedFields),
    )


class DescribeLogDirs(Request[LogDirsRequestStruct]):  # type: ignore[misc]  # aiokafka has no types
    """The folders of one broker with the sizes of all partitions, and the space of their disks."""

    API_KEY = 35

    @override
    def build(self, request_struct_class: type[LogDirsRequestStruct]) -> LogDirsRequestStruct:
        return request_struct_class(topics=None, tags={})  # None means all topics


_REPLICA: Final = (
    ("replica_id", Int32),
    ("log_end_offset", Int64),
    ("last_fetch_timestamp", Int64),
    ("last_caught_up_timestamp", Int64),
    ("tags", TaggedFields),
)


class QuorumResponse(Response):  # type: ignore[misc]  # aiokafka has no types
    API_KEY = 55
    API_VERSION = 1
    SCHEMA = Schema(
        ("error_code", Int16),
        (
            "topics",
            CompactArray(
                ("name", _TEXT),
                (
                    "partitions",
                    CompactArray(
                        ("partition_index", Int32),
                        ("error_code", Int16),
                        ("leader_id", Int32),
                        ("leader_epoch", Int32),
                        ("high_watermark", Int64),
                        ("current_voters", CompactArray(*_REPLICA)),
                        ("observers", CompactArray(*_REPLICA)),
                        ("tags", TaggedFields),
                    ),
                ),
                ("tags", TaggedFields),
            ),
        ),
        ("tags", TaggedFields),
    )


class QuorumRequestStruct(RequestStruct):  # type: ignore[misc]  # aiokafka has no types
    FLEXIBLE_VERSION: ClassVar[bool] = True
    API_KEY = 55
    API_VERSION = 1
    RESPONSE_TYPE = QuorumResponse
    SCHEMA = Schema(
        (
            "topics",
            CompactArray(
                ("name", _TEXT),
                ("partitions", CompactArray(("partition_index", Int32), ("tags", TaggedFields))),
                ("tags", TaggedFields),
            ),
        ),
        ("tags", TaggedFields),
    )


class DescribeQuorum(Request[QuorumRequestStruct]):  # type: ignore[misc]  # aiokafka has no types
    """The controllers of the cluster. The active one answers with its own time as its `last_caught_up_timestamp`."""

    API_KEY = 55

    @override
    def build(self, request_struct_class: type[QuorumRequestStruct]) -> QuorumRequestStruct:
        return request_struct_class(topics=[(_METADATA_TOPIC, [(0, {})], {})], tags={})
