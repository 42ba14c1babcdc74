"""Runs our commands as processes that are forked from one which has imported them: an import takes up to 2 s.

The process is a real one, with its own environment, standard streams and exit code. A test of each command also starts
it with `python -m`.
"""

import asyncio
import multiprocessing
import os
import runpy
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

_MODULES: Final = ("command_line.__main__", "admin_api.__main__", "store.__main__")
_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(list(_MODULES))


@dataclass(frozen=True)
class Ended:
    code: int | None
    out: str
    err: str


async def run_forked(
    module: str, arguments: Sequence[str], environment: Mapping[str, str], *, typed: str = "", within: float = 90
) -> Ended:
    """Runs `python -m module`. `typed` is its input. Raises `TimeoutError` if it does not end `within` seconds."""
    await asyncio.to_thread(_import_commands)
    with TemporaryDirectory() as folder:
        streams = [Path(folder) / name for name in ("in", "out", "err")]
        streams[0].write_text(typed)
        process = _FORKS.Process(target=_run, args=(module, list(arguments), dict(environment), streams), daemon=True)
        process.start()
        await asyncio.to_thread(process.join, within)
        code = process.exitcode
        if code is None:
            process.kill()
            process.join()
            raise TimeoutError(f"{module} {' '.join(arguments)} has not ended")
        process.close()
        return Ended(code, streams[1].read_text(), streams[2].read_text())


@cache
def _import_commands() -> None:
    """Waits until the process for forks has imported them, because that time is not the command's."""
    process = _FORKS.Process(target=_do_nothing, daemon=True)
    process.start()
    process.join()
    process.close()


def _do_nothing() -> None:
    pass


def _run(module: str, arguments: list[str], environment: dict[str, str], streams: list[Path]) -> None:
    os.environ.clear()
    os.environ.update(environment)
    for number, (stream, flags) in enumerate(
        zip(streams, (os.O_RDONLY, os.O_WRONLY | os.O_CREAT, os.O_WRONLY | os.O_CREAT), strict=True)
    ):
        os.dup2(os.open(stream, flags), number)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115 -- open until the process ends
    sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)  # noqa: SIM115
    sys.argv = [module, *arguments]
    del sys.modules[f"{module}.__main__"]  # its imports stay
    runpy.run_module(module, run_name="__main__", alter_sys=True)
