"""Write docs/_tables/trust.md: promises, their tests and the counts of the last ``make trust``.

``make trust`` runs it with the folder of its reports, which it puts together in
docs/_tables/trust.json; without a folder it writes the table of that file::

    python docs/trust_table.py [FOLDER]
"""

import json
import os
import platform
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

TABLES = Path(__file__).parent / "_tables"
RESULTS, TABLE = TABLES / "trust.json", TABLES / "trust.md"
HEADER = "| promise | tests | counts |\n| --- | --- | --- |"
_PROBE = """
import torch, numpy
from threadpoolctl import threadpool_info
blas = [lib["architecture"] for lib in threadpool_info() if lib["user_api"] == "blas"]
print(torch.backends.cpu.get_cpu_capability(), blas[0])
"""


def combined(folder: Path) -> dict[str, Any]:
    """Return the reports of a run as one: ``promises.json`` and one for each pair of kernels."""
    reports = {
        path.stem: json.loads(path.read_text(encoding="utf-8"))
        for path in sorted(folder.glob("*.json"))
    }
    if "promises" not in reports:
        raise FileNotFoundError(
            f"{folder} has no promises.json, the report of pytest --trust. Run make trust, or give "
            "the folder of its reports."
        )
    promises = reports.pop("promises")["promises"]
    kernels = {kernels_of(name): report["n_passed"] for name, report in reports.items()}
    return {"machine": machine(), "kernels": kernels, "promises": promises}


def kernels_of(name: str) -> str:
    """Return the kernels of torch and OpenBLAS that a pair of their settings, "a-b", leads to."""
    names = dict(zip(("ATEN_CPU_CAPABILITY", "OPENBLAS_CORETYPE"), name.split("-"), strict=True))
    given = {key: value for key, value in names.items() if value != "native"}
    command = [sys.executable, "-c", _PROBE]
    done = subprocess.run(
        command, env={**os.environ, **given}, capture_output=True, text=True, check=True
    )
    torch_kernels, blas = done.stdout.split()
    return f"torch {torch_kernels}, OpenBLAS {blas}"


def machine() -> str:
    """Return processor, cores and versions."""
    import torch

    info = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*: (.*)", info.read_text()) if info.exists() else None
    name = found[1] if found else platform.machine()
    return (
        f"{name}, {os.cpu_count()} cores, Python {platform.python_version()}, "
        f"torch {torch.__version__.split('+')[0]}"
    )


def table(results: dict[str, Any]) -> str:
    """Return the table in Markdown."""
    n_passed = ", ".join(f"{n:,} under {name}" for name, n in results["kernels"].items())
    rows = [HEADER, f"| All tests pass whatever kernels a processor has. | `tests` | {n_passed} |"]
    for promise, entry in results["promises"].items():
        files = sorted({test.split("::")[0] for test in entry["tests"]})
        counts = ", ".join(f"{number:,} {what}" for what, number in entry["counts"].items())
        tests = len(entry["tests"])
        counts = counts or f"{tests} test{'s' if tests > 1 else ''}"
        rows.append(f"| {promise} | {', '.join(f'`{file}`' for file in files)} | {counts} |")
    return "\n".join(rows) + f"\n\nLast run: {results['machine']}.\n"


if __name__ == "__main__":
    if len(sys.argv) > 1:
        RESULTS.write_text(json.dumps(combined(Path(sys.argv[1])), indent=1) + "\n", "utf-8")
    TABLE.write_text(table(json.loads(RESULTS.read_text(encoding="utf-8"))), encoding="utf-8")
    print(TABLE.read_text(encoding="utf-8"))
