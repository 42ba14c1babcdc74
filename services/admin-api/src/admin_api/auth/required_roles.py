"""The role that each route requires. The application does not start if a route declares none."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from fastapi import Request
from fastapi.routing import APIRoute
from starlette.routing import BaseRoute

from admin_api.http.errors import Forbidden
from admin_api.writes.actors import Actor, Role

PUBLIC_PATHS: Final = frozenset({"/", "/health/live", "/health/ready", "/metrics", "/docs", "/openapi.json"})
_PUBLIC_FOLDER: Final = "/docs/"
"""The static files of the documentation page."""


def is_public(path: str) -> bool:
    return path in PUBLIC_PATHS or path.startswith(_PUBLIC_FOLDER)


@dataclass(frozen=True)
class RequiredRole:
    """A FastAPI dependency that refuses callers without this role or a higher one.

    FastAPI parses the body before it calls dependencies. So `ApiRoute` checks the role before that.
    """

    role: Role

    async def __call__(self, request: Request) -> None:
        """Asynchronous, because FastAPI calls other functions in a thread. Raises `Forbidden`."""
        self.require(request.state.actor)

    def require(self, actor: Actor) -> None:
        """Raises `Forbidden`."""
        if not actor.role.includes(self.role):
            raise Forbidden(f"This requires the role {self.role}; {actor.name} has the role {actor.role}.")


def required_role(route: BaseRoute) -> Role | None:
    """The highest role that a route declares; None if it declares none."""
    dependencies = route.dependencies if isinstance(route, APIRoute) else []
    declared = [each.dependency.role for each in dependencies if isinstance(each.dependency, RequiredRole)]
    return max(declared, key=list(Role).index, default=None)


def check_roles(route: APIRoute, actor: Actor) -> None:
    """Raises `Forbidden` if the route requires a higher role."""
    for each in route.dependencies:
        if isinstance(each.dependency, RequiredRole):
            each.dependency.require(actor)


def require_declared_roles(routes: Iterable[BaseRoute]) -> None:
    """Raises `TypeError` if a route that is not public declares no role."""
    undeclared = [
        path for route in routes if not is_public(path := getattr(route, "path", "?")) and not required_role(route)
    ]
    if undeclared:
        raise TypeError(f"declare a role for {', '.join(undeclared)}: dependencies=[needs(Role.…)] on each route")
