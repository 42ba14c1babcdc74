"""Checks whether a Kafka broker answers on a port, without importing a client library."""

import asyncio
import contextlib
import struct

from local_stack.ports import LOOPBACK

API_VERSIONS = 18
CORRELATION_ID = 1
CLIENT_ID = b"local-stack"
# ApiVersions v0, which every broker answers: length, api key, version, correlation id, client id.
_BODY = struct.pack(f">hhih{len(CLIENT_ID)}s", API_VERSIONS, 0, CORRELATION_ID, len(CLIENT_ID), CLIENT_ID)
REQUEST = struct.pack(">i", len(_BODY)) + _BODY
ANSWER_HEADER = struct.Struct(">iih")  # length, correlation id, error code


async def answers(port: int, *, host: str = LOOPBACK, within: float = 2.0) -> bool:
    try:
        async with asyncio.timeout(within):
            reader, writer = await asyncio.open_connection(host, port)
            try:
                writer.write(REQUEST)
                _, correlation_id, error = ANSWER_HEADER.unpack(await reader.readexactly(ANSWER_HEADER.size))
            finally:
                writer.close()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()
    except (OSError, EOFError, TimeoutError):
        return False
    return bool(correlation_id == CORRELATION_ID and error == 0)
