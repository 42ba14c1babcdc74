"""Play many histories: `PYTHONPATH=tests .venv/bin/python -m support.coverage_model --histories 100000`.

Each batch of 2,000 histories has its own seed, so a batch can be repeated: `--first-seed 17 --histories 2000`. A
disagreement is shrunk, printed with its history, and ends the program with code 1.
"""

import argparse
import sys
import time

from support.coverage_model.playing import search
from support.coverage_model.world import Rules

BATCH = 2_000


def main() -> int:
    parser = argparse.ArgumentParser(prog="support.coverage_model", description=__doc__)
    parser.add_argument("--histories", type=int, default=100_000, help="the number of histories to play")
    parser.add_argument("--first-seed", type=int, default=1, help="the seed of the first batch")
    options = parser.parse_args()
    started = time.monotonic()
    for batch in range(-(-options.histories // BATCH)):
        number, done = options.first_seed + batch, batch * BATCH
        try:
            search(Rules(), number=number, count=min(BATCH, options.histories - done), shrinks=True)
        except Exception as error:  # noqa: BLE001 -- a defect in the code is a finding, too
            print(f"seed {number}: {type(error).__name__}: {error}", *getattr(error, "__notes__", ()), sep="\n")
            return 1
        print(f"{min(done + BATCH, options.histories)} histories, {time.monotonic() - started:.0f} s", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
