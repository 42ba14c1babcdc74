"""The routes of admin-api, and a value for each parameter of their paths."""

from admin_api.app import AdminApi


class _AnId(dict[str, int]):
    def __missing__(self, name: str) -> int:
        return 1


AN_ID = _AnId()
"""A value for every path parameter."""


def every_route(api: AdminApi) -> list[tuple[str, str]]:
    schema = api.app.openapi()
    return [(method.upper(), path) for path, item in schema["paths"].items() for method in item]
