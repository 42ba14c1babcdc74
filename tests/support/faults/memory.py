"""How much memory the services hold, and how much they grew while something was broken."""

from collections.abc import Mapping

import psutil

from local_stack.stack import Stack

MEBIBYTE = 1024 * 1024
_OUTSIDE = "exchange-simulator"


def resident(stack: Stack) -> dict[str, int]:
    """Bytes by service; the exchanges' simulator keeps a log of all requests and is not one."""
    services = [name for name, each in stack.services.items() if each.role.name != _OUTSIDE]
    pids = {name: stack.processes[name].running.child.pid for name in services}
    return {name: int(psutil.Process(pid).memory_info().rss) for name, pid in pids.items()}


def grown(before: Mapping[str, int], after: Mapping[str, int]) -> dict[str, float]:
    """Mebibytes, by service."""
    return {name: round((after[name] - before[name]) / MEBIBYTE, 1) for name in before}
