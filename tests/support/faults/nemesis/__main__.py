"""Break a whole system at random, judge it, tell: python -m support.faults.nemesis --seed 1 --minutes 10"""

import argparse
import asyncio
import logging
import os
import pickle
import shutil
import signal
import sys
import time
from pathlib import Path

from support.faults.nemesis.report import report
from support.faults.nemesis.run import CONFIGS, Told, run


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m support.faults.nemesis", description=__doc__)
    parser.add_argument("--seed", type=int, action="append", help="several: one run after the other")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--configs", type=int, default=CONFIGS)
    parser.add_argument("--folder", type=Path, default=Path(".nemesis"), help="where the system lives, and the report")
    parser.add_argument("--keep", action="store_true", help="keep data, logs and history of good runs too")
    options = parser.parse_args()
    for variable in ("KAFKA_BOOTSTRAP_SERVERS", "DATABASE_URL"):
        os.environ.pop(variable, None)  # what is broken here is nobody else's
    os.environ["CANDLEKEEP_KAFKA"] = "real"
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # that Kafka is away is no news here
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))  # as Ctrl-C: what runs is stopped
    told = [_one_run(options, seed) for seed in options.seed or [int(time.time())]]
    written = report(told)
    (options.folder / "report.md").write_text(written)
    print(f"\n{written}\nwritten to {options.folder / 'report.md'}")
    return int(any(each.violations or each.recovered_after is None for each in told))


def _one_run(options: argparse.Namespace, seed: int) -> Told:
    folder: Path = options.folder / f"seed-{seed}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    print(f"seed {seed}, {options.minutes:g} minutes, in {folder}", flush=True)

    def say(line: str) -> None:
        print(line, flush=True)

    told = asyncio.run(run(folder, seed=seed, seconds=options.minutes * 60, configs=options.configs, say=say))
    if told.violations or told.recovered_after is None:
        (folder / "evidence.pickle").write_bytes(pickle.dumps(told.evidence))
        print(f"{report([told])}\nThe history is {folder / 'history.jsonl'}; logs and the evidence are beside it")
    elif not options.keep:
        shutil.rmtree(folder)
    return told


sys.exit(main())
