"""Attacks with credentials: guesses, forbidden requests, and credentials at places that a program might log."""

import asyncio
import secrets
import uuid
from http import HTTPStatus

from admin_api.auth.token_format import mint
from support.abuse.attack import Counts, Target

_GUESSES = 10
_HARMLESS = 60


async def guessed_tokens(target: Target, counts: Counts) -> None:
    """Malformed guesses, and well-formed ones whose checksum is correct, from the address of all other callers."""
    async with target.client(None) as client:
        for number in range(_GUESSES):
            guess = mint().text if number % 2 else secrets.token_hex(20)
            await counts.request(client, "GET", "/me", headers={"Authorization": f"Bearer {guess}"})


async def refusals_that_hide_another(target: Target, counts: Counts) -> None:
    """Many harmless refused requests, then the attempt to create an admin token. The log must contain the attempt."""
    async with target.client(target.viewer) as client:
        for _ in range(_HARMLESS):
            await counts.request(client, "DELETE", "/configs/1")
        request_id = f"mint-{uuid.uuid4().hex}"
        body = {"name": "taken", "role": "admin"}
        refused = await counts.request(client, "POST", "/tokens", json=body, headers={"X-Request-ID": request_id})
        if refused is not None and refused.status_code == HTTPStatus.FORBIDDEN:
            counts.request_ids.append(request_id)


async def credentials_at_odd_places(target: Target, counts: Counts) -> None:
    """A caller puts its own token into paths, queries, headers and bodies. No log may contain it."""
    token = target.viewer
    async with target.client(token) as client:
        for path in (f"/configs/{token}", f"/tokens/{token}", f"/{token}"):
            await counts.request(client, "DELETE", path)
            await counts.request(client, "GET", path)
        await counts.request(client, "GET", "/configs", params={"symbol": token, "token": token})
        for header in ("X-Request-ID", "User-Agent", "Referer", "Last-Event-ID", "Idempotency-Key", "If-None-Match"):
            await counts.request(client, "HEAD", "/events", headers={header: token})
        await counts.request(client, "POST", "/configs", json={"symbol": token, token: token})
        await counts.request(client, "GET", "/me", headers={"Cookie": f"candlekeep-session={token}"})


async def tokens_of_sessions(target: Target, counts: Counts) -> None:
    """A session creates a token that would be valid for longer than the token that opened the session."""
    async with target.client(target.admin) as client:
        opened = await counts.request(client, "POST", "/sessions")
    cookie = opened.cookies.get("candlekeep-session") if opened is not None else None
    if cookie is None:
        return
    counts.secrets.add(cookie)
    headers = {"Cookie": f"candlekeep-session={cookie}", "X-CSRF-Protection": "1", "Sec-Fetch-Site": "same-origin"}
    body = {"name": f"outlives-{uuid.uuid4().hex[:8]}", "role": "admin", "expires_in_days": 365}
    async with target.client(None) as client:
        created, me = await asyncio.gather(
            counts.request(client, "POST", "/tokens", json=body, headers=headers),
            counts.request(client, "GET", "/me", headers=headers),
        )
        if created is not None and created.is_success and me is not None:
            counts.secrets.add(created.json()["token"])
            if created.json()["expires_at"] > me.json()["expires_at"]:
                counts.answers["a token that outlives its session's token"] += 1
        await counts.request(client, "DELETE", "/sessions/current", headers=headers)
