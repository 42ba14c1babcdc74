"""A process that behaves like a service for a supervisor: health over HTTP, SIGTERM, exit codes.

With DUMMY_EXIT_AT_START=code it prints an error and exits with this code. With DUMMY_STUBBORN=1 it ignores SIGTERM.
"""

import os
import signal
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from typing_extensions import override


class Health(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    @override
    def log_message(self, *_: Any) -> None:
        return


def main() -> None:
    if code := os.environ.get("DUMMY_EXIT_AT_START"):
        print("DUMMY_COLOUR is not valid: no such colour", flush=True)
        sys.exit(int(code))
    stubborn = os.environ.get("DUMMY_STUBBORN") == "1"
    signal.signal(signal.SIGTERM, signal.SIG_IGN if stubborn else lambda *_: os._exit(0))
    print(f"serving as {os.getpid()}", flush=True)
    ThreadingHTTPServer(("127.0.0.1", int(os.environ["HTTP_PORT"])), Health).serve_forever()


if __name__ == "__main__":
    main()
