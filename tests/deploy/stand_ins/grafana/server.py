"""A stand-in for Grafana: its provisioning, its sign-in, and the routes of its HTTP API that the tests use.

It reads the same files and variables as Grafana, and stops with a message if they contradict each other. It evaluates
no panel. A query reaches Prometheus through the proxy of the data source, as in Grafana.
"""

import base64
import hmac
import json
import os
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

PROXY = "/api/datasources/proxy/uid/"


@dataclass(frozen=True)
class Provisioned:
    data_sources: dict[str, dict[str, Any]]
    dashboards: dict[str, dict[str, Any]]


def provisioned(folder: Path) -> Provisioned:
    """Raises `SystemExit` if a dashboard has no id or title, or names a data source that does not exist."""
    sources = {source["uid"]: source for each in _files(folder / "datasources") for source in each["datasources"]}
    dashboards: dict[str, dict[str, Any]] = {}
    for provider in (provider for each in _files(folder / "dashboards") for provider in each["providers"]):
        for file in sorted(Path(provider["options"]["path"]).glob("*.json")):
            board = json.loads(file.read_text())
            if not board.get("uid") or not board.get("title") or board["uid"] in dashboards:
                raise SystemExit(f"{file}: a dashboard needs a title and a uid of its own")
            if unknown := set(_data_sources(board)) - set(sources):
                raise SystemExit(f"{file}: unknown data sources {sorted(unknown)}")
            dashboards[board["uid"]] = board
    return Provisioned(sources, dashboards)


def _files(folder: Path) -> list[dict[str, Any]]:
    return [yaml.safe_load(file.read_text()) for file in sorted(folder.glob("*.yml"))]


def _data_sources(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        source = part.get("datasource")
        if isinstance(source, dict) and "uid" in source and source["uid"] != "-- Grafana --":
            yield source["uid"]
        part = list(part.values())
    if isinstance(part, list):
        for each in part:
            yield from _data_sources(each)


class Handler(BaseHTTPRequestHandler):
    found: Provisioned
    password: str

    def do_GET(self) -> None:
        if urlsplit(self.path).path == "/api/health":
            self._answer(200, {"database": "ok", "version": "stand-in"})
        elif not self._may():
            self._answer(401, {"message": "Unauthorized"})
        else:
            self._answer_signed_in()

    def _answer_signed_in(self) -> None:
        address = urlsplit(self.path)
        if address.path == "/api/search":
            return self._answer(200, [{"uid": uid, "title": b["title"]} for uid, b in self.found.dashboards.items()])
        if address.path == "/api/datasources":
            return self._answer(200, list(self.found.data_sources.values()))
        board = self.found.dashboards.get(address.path.removeprefix("/api/dashboards/uid/"))
        if board is not None:
            return self._answer(200, {"dashboard": board, "meta": {"provisioned": True}})
        if address.path.startswith(PROXY):
            return self._forward(address.path.removeprefix(PROXY), address.query)
        return self._answer(404, {"message": "Not found"})

    def _may(self) -> bool:
        user = os.environ.get("GF_SECURITY_ADMIN_USER", "admin")
        expected = "Basic " + base64.b64encode(f"{user}:{self.password}".encode()).decode()
        anonymous = os.environ.get("GF_AUTH_ANONYMOUS_ENABLED", "false") == "true"
        return anonymous or hmac.compare_digest(self.headers.get("Authorization", ""), expected)

    def _forward(self, rest: str, query: str) -> None:
        uid, _, path = rest.partition("/")
        source = self.found.data_sources.get(uid)
        if source is None:
            return self._answer(404, {"message": "Data source not found"})
        try:
            with urllib.request.urlopen(f"{source['url']}/{path}?{query}", timeout=10) as response:
                return self._answer(response.status, json.load(response))
        except urllib.error.HTTPError as error:
            return self._answer(error.code, {"message": error.read().decode(errors="replace")})
        except OSError as error:
            return self._answer(502, {"message": str(error)})

    def _answer(self, status: int, body: Any) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


if __name__ == "__main__":
    Handler.found = provisioned(Path(os.environ.get("GF_PATHS_PROVISIONING", "/etc/grafana/provisioning")))
    Handler.password = Path(os.environ["GF_SECURITY_ADMIN_PASSWORD__FILE"]).read_text().strip()
    Path("/var/lib/grafana/stand-in").write_text("writable")
    ThreadingHTTPServer(("", 3000), Handler).serve_forever()
