"""Attacks by request bodies: large ones without the role, and those whose parsing costs more than their size."""

import asyncio
import json
import uuid

from support.abuse.attack import Counts, Target

_PARALLEL = 10
_LARGE = json.dumps({"configs": [{"symbol": f"A{number}/USDT", "exchange": "binance"} for number in range(72_000)]})
_JSON = {"Content-Type": "application/json"}
_YAML = {"Content-Type": "application/yaml"}


async def large_bodies_without_the_role(target: Target, counts: Counts) -> None:
    """Bodies of almost 4 MB for routes that the caller may not use, or with a smaller limit."""
    large = _LARGE.encode()
    async with target.client(target.viewer) as viewer, target.client(target.operator) as operator:
        await asyncio.gather(
            *(
                counts.request(client, "POST", path, content=large, headers=_JSON)
                for client, path in (
                    *[(viewer, "/configs/apply"), (viewer, "/configs/bulk/create")] * (_PARALLEL // 2),
                    (operator, "/configs/apply"),
                    (operator, "/configs/bulk/trigger"),
                )
            )
        )


async def repeated_names(target: Target, counts: Counts) -> None:
    """JSON objects with one name twice among many: of an operator below its limit, and of an admin's faulty file."""
    async with target.client(target.operator) as client:
        await counts.request(client, "POST", "/configs/bulk/enable", content=_with_a_repeated_name(4000), headers=_JSON)
    async with target.client(target.admin) as client:
        for path in ("/configs/bulk/create", "/configs/apply"):
            await counts.request(client, "POST", path, content=_with_a_repeated_name(40_000), headers=_JSON)


async def yaml_with_many_nodes(target: Target, counts: Counts) -> None:
    """A megabyte of empty lists, and anchors that expand to billions of nodes."""
    lists = b"configs: [" + b"[]," * 350_000 + b"[]]"
    anchors = b"a: &a [x, x, x]\n" + b"".join(b"%c: &%c [*%c, *%c]\n" % (n, n, n - 1, n - 1) for n in range(98, 122))
    async with target.client(target.admin) as client:
        for content in (lists, anchors):
            await counts.request(client, "POST", "/configs/apply", content=content, headers=_YAML)


def _with_a_repeated_name(count: int) -> bytes:
    names = [f'"{uuid.uuid4().hex[:8]}":0' for _ in range(count)]
    return ("{" + ",".join([*names, names[0]]) + "}").encode()
