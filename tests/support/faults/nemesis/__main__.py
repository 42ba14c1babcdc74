"""Break a whole system at random, check it, and report: python -m support.faults.nemesis --seed 1 --minutes 10"""

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
from support.faults.nemesis.run import CONFIGS, NemesisResult, run


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m support.faults.nemesis", description=__doc__)
    parser.add_argument(
        "--seed", type=int, action="append", help="may be given several times; the runs follow each other"
    )
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--configs", type=int, default=CONFIGS)
    parser.add_argument("--folder", type=Path, default=Path(".nemesis"), help="folder of the system and of the report")
    parser.add_argument(
        "--keep", action="store_true", help="also keep data, logs and history of runs without violations"
    )
    options = parser.parse_args()
    for variable in ("KAFKA_BOOTSTRAP_SERVERS", "DATABASE_URL"):
        os.environ.pop(variable, None)  # the test breaks only its own Kafka and Postgres
    os.environ["CANDLEKEEP_KAFKA"] = "real"
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # errors of Kafka clients are expected
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))  # as Ctrl-C: stops all processes
    results = [_one_run(options, seed) for seed in options.seed or [int(time.time())]]
    written = report(results)
    (options.folder / "report.md").write_text(written)
    print(f"\n{written}\nwritten to {options.folder / 'report.md'}")
    return int(any(each.violations or each.recovered_after is None for each in results))


def _one_run(options: argparse.Namespace, seed: int) -> NemesisResult:
    folder: Path = options.folder / f"seed-{seed}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    print(f"seed {seed}, {options.minutes:g} minutes, in {folder}", flush=True)

    def print_line(line: str) -> None:
        print(line, flush=True)

    result = asyncio.run(run(folder, seed=seed, seconds=options.minutes * 60, configs=options.configs, log=print_line))
    if result.violations or result.recovered_after is None:
        (folder / "evidence.pickle").write_bytes(pickle.dumps(result.evidence))
        print(report([result]))
        print(f"The history is {folder / 'history.jsonl'}; the logs and the evidence are in the same folder")
    elif not options.keep:
        shutil.rmtree(folder)
    return result


sys.exit(main())
