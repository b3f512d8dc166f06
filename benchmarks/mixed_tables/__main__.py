"""Command line of the benchmark."""

import argparse
import os
import time
from pathlib import Path
from typing import Any

import torch
from machine import machine
from write_tables import RESULTS, write_tables

from mixed_tables import drawing, features, few, filling, odd
from mixed_tables.data import TABLES, read, split
from mixed_tables.elsewhere import Elsewhere
from mixed_tables.results import Results

PARTS: dict[str, Any] = {
    "features": features,
    "few": few,
    "filling": filling,
    "drawing": drawing,
    "odd": odd,
}
N_SPLITS = 5
QUICK = ("penguins", "auto-mpg")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="mixed_tables", description=__doc__)
    parser.add_argument("--tables", type=Path, required=True, help="folder with the CSV files")
    parser.add_argument("--quick", action="store_true", help="one split of two small tables")
    parser.add_argument("--only", choices=PARTS, help="one part")
    parser.add_argument("--splits", type=int, default=N_SPLITS, help="number of splits")
    parser.add_argument("--names", nargs="+", choices=TABLES, help="some of the tables")
    parser.add_argument("--contenders", nargs="+", help="some of the contenders")
    parser.add_argument("--again", nargs="+", default=[], help="contenders to measure again")
    parser.add_argument("--retry", action="store_true", help="measure again what failed")
    parser.add_argument("--elsewhere", type=Path, help="Python of the other packages")
    parser.add_argument("--patience", type=float, default=300, help="seconds of another's job")
    parser.add_argument("--results", type=Path, help="file of results")
    return parser.parse_args()


def run(options: argparse.Namespace, results: Results, elsewhere: Elsewhere) -> None:
    """Measure all cells that are not finished, split by split."""
    names = options.names or (QUICK if options.quick else list(TABLES))
    for number in range(1 if options.quick else options.splits):
        for part in [options.only] if options.only else PARTS:
            for name in names:
                contenders = PARTS[part].contenders(elsewhere)
                for contender, how in contenders.items():
                    if options.contenders and contender not in options.contenders:
                        continue
                    key = f"{part} | {name} | {number} | {contender}"
                    if not results.has(key):
                        measure(part, how, (options.tables, name, number), key, results)


def measure(part: str, how: Any, which: tuple[Path, str, int], key: str, results: Results) -> None:
    """Measure a cell; an error is its result if the contender fails."""
    folder, name, number = which
    of_split = split(read(folder, name), number)
    start = time.perf_counter()
    try:
        cell = PARTS[part].measure(how, of_split)
    except Exception as error:
        cell = {"error": f"{type(error).__name__}: {error}"[:300]}
    if cell is None:
        return
    taken = time.perf_counter() - start
    results.add(key, cell)
    print(f"{key}: {cell.get('error', '')} {taken:.1f} s", flush=True)


def main() -> None:
    options = parse()
    torch.set_num_threads(1)
    elsewhere = Elsewhere(options.elsewhere, options.patience)
    path = options.results or (
        Path("demo/tables.json") if options.quick else RESULTS / "tables.json"
    )
    command = "python -m mixed_tables --tables DIR --elsewhere PYTHON"
    versions = machine() | elsewhere.versions()
    description = {"measured on": versions, "load": os.getloadavg(), "command": command}
    if options.quick:
        path.unlink(missing_ok=True)
    results = Results(path, description)
    results.forget(options.again, options.retry)
    try:
        run(options, results, elsewhere)
    finally:
        elsewhere.close()
    if path.parent == RESULTS:
        write_tables()


if __name__ == "__main__":
    main()
