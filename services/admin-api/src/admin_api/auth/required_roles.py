"""What each route asks of its caller. A route that asks for nothing is not served: building the application fails."""

from collections.abc import Iterable
from dataclasses import dataclass

from fastapi import Request
from fastapi.routing import APIRoute
from starlette.routing import BaseRoute

from admin_api.auth.public_paths import is_public
from admin_api.http.errors import Forbidden
from admin_api.writes.actors import Actor, Role


@dataclass(frozen=True)
class RequiredRole:
    """A dependency of a route: refuse whoever does not have at least this role."""

    least: Role

    def __call__(self, request: Request) -> None:
        """Raises `Forbidden`."""
        actor: Actor = request.state.actor
        if not actor.role.covers(self.least):
            raise Forbidden(f"This needs the role {self.least}, and {actor.name} has the role {actor.role}.")


def least_role(route: BaseRoute) -> Role | None:
    """What a route asks for: the greatest of its declarations, None where there is none."""
    dependencies = route.dependencies if isinstance(route, APIRoute) else []
    asked = [each.dependency.least for each in dependencies if isinstance(each.dependency, RequiredRole)]
    return max(asked, key=list(Role).index, default=None)


def require_declared_roles(routes: Iterable[BaseRoute]) -> None:
    """Raises `TypeError` where a route that is not public does not say who may call it."""
    undeclared = [
        path for route in routes if not is_public(path := getattr(route, "path", "?")) and not least_role(route)
    ]
    if undeclared:
        raise TypeError(f"say who may call {', '.join(undeclared)}: dependencies=[needs(Role.…)] on each route")
