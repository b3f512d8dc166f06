"""Lower bounds of the times of ``speed.py``: arithmetic and memory traffic (roofline model).

torch counts the floating-point operations of a forward and backward pass. Adam moves at least 7
numbers of 4 bytes per weight (weight, gradient and both moments read; weight and moments written),
and every matrix product reads and writes its operands once. The lower bound is the larger of
operations over the measured rate of a large matrix product, and bytes over the measured rate of a
large copy; without overlap it is their sum. Run it after ``speed.py``::

    python benchmarks/limits.py [--device cuda]
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from contenders import Job, parts
from machine import machine
from speed import jobs
from torch.utils.flop_counter import FlopCounterMode
from write_tables import RESULTS, write_tables

_FLOAT_BYTES = 4
_ADAM_NUMBERS = 7


def seconds(function: Callable[[], object], device: str) -> float:
    """Return the median time of a call in seconds."""
    taken = []
    for _ in range(7):
        start = time.perf_counter()
        function()
        if device != "cpu":
            torch.cuda.synchronize()
        taken.append(time.perf_counter() - start)
    return statistics.median(taken)


def rates(device: str) -> tuple[float, float]:
    """Return operations per second of a large product, and bytes per second of a large copy."""
    n = 2048 if device == "cpu" else 8192
    a, b = torch.randn(2, n, n, device=device)
    out = torch.empty_like(a)
    big = torch.randn(2**26 if device == "cpu" else 2**28, device=device)
    target = torch.empty_like(big)
    product = seconds(lambda: torch.mm(a, b, out=out), device)
    copy = seconds(lambda: target.copy_(big), device)
    return 2 * n**3 / product, 2 * big.numel() * _FLOAT_BYTES / copy


def counts(job: Job) -> tuple[int, int]:
    """Return the operations of a step, and the bytes that it moves at least."""
    model, objective, x = parts(job)
    noise = torch.Generator(job.device).manual_seed(0)
    model.train()
    with FlopCounterMode(display=False) as counter:
        objective(model, model(x[: job.batch], noise), noise).target.backward()
    weights = sum(weight.numel() for weight in model.parameters())
    layers = [weight.shape[0] for weight in model.parameters() if weight.dim() > 1]
    activations = 3 * job.batch * sum(layers)
    moved = _FLOAT_BYTES * (_ADAM_NUMBERS * weights + 2 * weights + activations)
    return int(counter.get_total_flops()), moved


def main() -> None:
    """Count and measure, print the table and write the results."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--device", default="cpu", help="as of speed.py")
    parser.add_argument("--speed", type=Path, default=RESULTS / "speed.json", help="its results")
    parser.add_argument("--out", type=Path, default=RESULTS / "limits.json", help="file to write")
    options = parser.parse_args()
    timed = {run["job"]: run for run in json.loads(options.speed.read_text())["runs"]}
    torch.set_num_threads(1)
    operations, traffic = rates(options.device)
    found = []
    for job in jobs(1, options.device):
        if job.name not in timed:
            continue
        run = timed[job.name]
        flops, moved = counts(job)
        step = statistics.median(run["seconds"]["skvim"]) / run["steps"]
        shares = {"arithmetic": flops / operations / step, "traffic": moved / traffic / step}
        found.append({"job": job.name, "flops": flops, "bytes": moved, "shares": shares})
        print(f"| {job.name} | {flops / 1e6:.1f} | {moved / 1e6:.1f} | {shares} |", flush=True)
    results = {"measured on": machine(), "flops a second": operations, "bytes a second": traffic}
    options.out.write_text(json.dumps({**results, "runs": found}, indent=1) + "\n")
    write_tables()


if __name__ == "__main__":
    main()
