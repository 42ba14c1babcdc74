"""Starts processes of admin-api for tests, and waits for their answers and their end."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import httpx

from support.api import TOKEN
from support.polling import eventually

Process = asyncio.subprocess.Process
Start = Callable[..., Awaitable[Process]]


@asynccontextmanager
async def starting_processes() -> AsyncIterator[Start]:
    """Start `python -m admin_api ARGUMENTS` with these variables set."""
    started: list[Process] = []

    async def run(*arguments: str, **variables: str) -> Process:
        environment = {**os.environ, "KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1", "CANDLEKEEP_ADMIN_TOKEN": TOKEN}
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "admin_api", *arguments, env=environment | variables, stdout=pipe, stderr=pipe
        )
        started.append(process)
        return process

    yield run
    for process in started:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def exit_of(process: Process) -> tuple[int | None, str, str]:
    async with asyncio.timeout(30):
        out, err = await process.communicate()
    return process.returncode, out.decode(), err.decode()


async def response_of(url: str, status: int, within: float = 30) -> httpx.Response:
    async def get() -> httpx.Response | None:
        async with httpx.AsyncClient(
            verify=False, timeout=60
        ) as client:  # loading the certificates takes 20 ms, often repeated
            try:
                answer = await client.get(url)
            except httpx.TransportError:
                return None
        return answer if answer.status_code == status else None

    return await eventually(get, within=within)
