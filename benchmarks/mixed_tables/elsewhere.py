"""Contenders in an environment of their own: frames go to a worker process, and results return."""

import pickle
import queue
import subprocess
import tempfile
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mixed_tables.data import as_floats, from_floats, is_number, is_time

__all__ = ["Elsewhere"]


class Elsewhere:
    """Worker process, started when it is first needed, and again after a job that took too long.

    Without the Python of an environment it is false.
    """

    def __init__(self, python: Path | None, patience: float) -> None:
        self.python = python
        self.patience = patience
        self._process: subprocess.Popen[str] | None = None
        self._answers: queue.Queue[str] = queue.Queue()

    def __bool__(self) -> bool:
        return self.python is not None

    def run(self, job: str, **inputs: Any) -> Any:
        """Return the result of a job of the worker; frames in it come and go as lists."""
        process = self._process or self._start()
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "job.pickle"
            sent = {name: _sent(value) for name, value in inputs.items()}
            path.write_bytes(pickle.dumps({"job": job, "inputs": sent}))
            print(path, file=process.stdin, flush=True)
            try:
                answer = self._answers.get(timeout=self.patience)
            except queue.Empty:
                self.close()
                raise TimeoutError(f"took more than {self.patience:g} s") from None
            if not answer:
                self.close()
                raise RuntimeError("the worker stopped")
            result = pickle.loads(path.read_bytes())
        if "error" in result:
            raise RuntimeError(result["error"])
        return _received(result["value"], inputs)

    def versions(self) -> dict[str, str]:
        """Return the versions of the packages in the environment."""
        return dict(self.run("versions")) if self else {}

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _start(self) -> "subprocess.Popen[str]":
        """Start the process, and a thread that reads its answers."""
        worker = Path(__file__).with_name("worker.py")
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(
            [str(self.python), "-W", "ignore", str(worker)],
            stdin=pipe,
            stdout=pipe,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self._answers = queue.Queue()
        threading.Thread(target=_read, args=(self._process, self._answers), daemon=True).start()
        return self._process


def _read(process: "subprocess.Popen[str]", answers: "queue.Queue[str]") -> None:
    """Pass on a worker's answers, and an empty one when it ends."""
    for line in process.stdout:
        answers.put(line)
    answers.put("")


def _sent(value: Any) -> Any:
    """Replace frames by lists, because the worker may have another version of pandas."""
    if isinstance(value, list):
        return [_sent(each) for each in value]
    return _as_lists(value) if isinstance(value, pd.DataFrame) else value


def _as_lists(frame: pd.DataFrame) -> dict[str, Any]:
    """Return a frame's columns as lists, with None for missing cells, and their kinds."""
    columns, kinds = {}, {}
    for name in frame:
        column = frame[name]
        kinds[name] = _kind(column)
        cells = as_floats(column) if is_number(column) else column.astype(object).to_numpy()
        missing = column.isna().to_numpy()
        columns[name] = [
            None if hole else c for c, hole in zip(cells.tolist(), missing, strict=True)
        ]
    return {"columns": columns, "kinds": kinds}


def _kind(column: pd.Series) -> str:
    """Return "time", "integer", "number" or "category"."""
    if is_time(column):
        return "time"
    if not is_number(column):
        return "category"
    return "integer" if pd.api.types.is_integer_dtype(column) else "number"


def _received(value: Any, inputs: dict[str, Any]) -> Any:
    """Return a result; lists become a frame with the kinds of columns of ``inputs["train"]``."""
    if not (isinstance(value, dict) and "columns" in value):
        return value
    like, columns = inputs["train"], {}
    for name, cells in value["columns"].items():
        if not is_number(like[name]):
            columns[name] = pd.Series(cells, dtype=like[name].dtype)
            continue
        floats = np.array([np.nan if cell is None else cell for cell in cells], dtype=float)
        column = from_floats(floats, like[name].iloc[:0])
        whole = _kind(like[name]) == "integer" and np.isfinite(floats).all()
        columns[name] = column.round().astype("int64") if whole else column
    return pd.DataFrame(columns)[list(like)]
