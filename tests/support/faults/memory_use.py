"""Memory of the services, and its growth during a fault."""

from collections.abc import Mapping

import psutil

from local_stack.stack import Stack

MEBIBYTE = 1024 * 1024
_SIMULATOR = "exchange-simulator"


def resident_bytes(stack: Stack) -> dict[str, int]:
    """Resident bytes by service, without the exchange simulator, which keeps a log of all requests."""
    services = [name for name, each in stack.services.items() if each.role.name != _SIMULATOR]
    pids = {name: stack.processes[name].running.child.pid for name in services}
    return {name: int(psutil.Process(pid).memory_info().rss) for name, pid in pids.items()}


def growth_mib(before: Mapping[str, int], after: Mapping[str, int]) -> dict[str, float]:
    """Growth in MiB, by service."""
    return {name: round((after[name] - before[name]) / MEBIBYTE, 1) for name in before}
