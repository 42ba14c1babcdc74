"""The commands of `python -m local_stack`: the demo, and the build and checks of the dashboard."""

import argparse
import asyncio
import os
import sys
from pathlib import Path

from local_stack.dashboard import build_if_changed, check_sources, generate_client
from local_stack.demo import DemoOptions, run_demo
from local_stack.errors import StackError
from local_stack.plan import DEFAULT_PORT


def main() -> None:
    arguments = argparse.ArgumentParser(prog="python -m local_stack", description="Candlekeep on one machine.")
    commands = arguments.add_subparsers(dest="command", required=True)
    demo = commands.add_parser("demo", help="run everything until Ctrl-C")
    demo.add_argument(
        "--port",
        type=int,
        default=DEFAULT_PORT,
        help="the port of the API; the other ports are at fixed distances from it",
    )
    demo.add_argument("--live", action="store_true", help="collect from the real exchanges")
    demo.add_argument(
        "--folder", type=Path, default=Path(os.environ.get("DEMO_DIR", ".demo")), help="the folder for data and logs"
    )
    commands.add_parser("dashboard", help="build the dashboard if it has changed")
    commands.add_parser("dashboard-client", help="generate the dashboard's client of the API")
    commands.add_parser("dashboard-lint", help="check the sources of the dashboard")
    chosen = arguments.parse_args()
    try:
        if chosen.command == "dashboard":
            build_dashboard()
        elif chosen.command == "dashboard-client":
            asyncio.run(generate_client(lambda line: print(line, flush=True)))
        elif chosen.command == "dashboard-lint":
            asyncio.run(check_sources(lambda line: print(line, flush=True)))
        else:
            asyncio.run(run_demo(DemoOptions(folder=chosen.folder, port=chosen.port, live=chosen.live)))
    except StackError as error:
        sys.exit(f"make {chosen.command}: {error}")


def build_dashboard() -> None:
    """Raises `StackError`."""
    if not asyncio.run(build_if_changed(lambda line: print(line, flush=True))):
        print("dashboard: nothing has changed since the last build")


if __name__ == "__main__":
    main()
