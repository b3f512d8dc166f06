"""Ctrl-C during the first fit of a process: the next fit works as if nothing had been."""

import os
import signal
import subprocess
import sys
import threading

import numpy as np
import pytest

from skvim import VAETransformer
from skvim._uninterrupted import import_whole

# A process that has imported skvim and fitted nothing.
PROCESS = """
import os, signal, sys, threading, time, traceback
import numpy as np
import torch
import skvim
from skvim.model_selection import lam_path

torch.set_num_threads(1)
X = np.random.default_rng(0).normal(size=(60, 5)).astype(np.float32)
model = skvim.VAETransformer(2, hidden_layer_sizes=(8,), max_epochs=3, random_state=0)
vimae = skvim.VIMAETransformer(2, hidden_layer_sizes=(8,), max_epochs=3, random_state=0)
FIRST = {
    "fit": lambda: model.fit(X).transform(X),
    "load": lambda: skvim.load(sys.argv[1]).fit(X).transform(X),
    "path": lambda: lam_path(vimae, X, [0.1, 10.0])[1].transform(X),
}
"""
# Its children do something for the first time, are sent SIGINT in the middle, and do it again.
INTERRUPTS = """
def child(first, say):
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        say("ready")
        first()
        say("finished")
        signal.pause()
    except KeyboardInterrupt:
        pass
    say(first().tobytes().hex())

def run(name, seconds=None):
    # Returns the seconds until the interrupt, whether it came in time, and the last result.
    come, go = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            child(FIRST[name], lambda word: os.write(go, f"{word}\\n".encode()))
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(0)
    os.close(go)
    with open(come) as answers:
        answers.readline()
        start = time.perf_counter()
        answers.readline() if seconds is None else time.sleep(seconds)
        os.kill(pid, signal.SIGINT)
        seconds = time.perf_counter() - start
        words = answers.read().split()
    os.waitpid(pid, 0)
    return seconds, "finished" not in words, words[-1] if words else ""

rng = np.random.default_rng(0)
whole = {name: run(name) for name in FIRST}
for i in range(int(sys.argv[2])):
    name = list(FIRST)[i % len(FIRST)]
    seconds, _, expected = whole[name]
    _, in_time, result = run(name, seconds * rng.uniform())
    print(name, in_time, result == expected)
"""
# What its main thread imports.
IMPORTS = """
class Finder:
    def find_spec(self, name, path, target=None):
        if threading.current_thread() is threading.main_thread():
            print(name)

sys.meta_path.insert(0, Finder())
for first in FIRST.values():
    first()
"""


@pytest.fixture
def run(tmp_path):
    """Return a function that runs code in such a process and returns the lines that it prints."""
    path = tmp_path / "model.skvim"
    rows = np.random.default_rng(0).normal(size=(60, 5)).astype(np.float32)
    VAETransformer(2, hidden_layer_sizes=(8,), max_epochs=3, random_state=0).fit(rows).save(path)

    def answers(code, *arguments):
        command = [sys.executable, "-W", "error", "-c", PROCESS + code, path, *arguments]
        environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
        print(done.stderr)  # shown where the test fails
        return done.stdout.splitlines()

    return answers


@pytest.mark.slow
def test_a_first_fit_imports_next_to_nothing_where_ctrl_c_comes(run):
    assert len(run(IMPORTS)) < 10


@pytest.mark.slow
@pytest.mark.trust("After Ctrl-C during its first fit, a process fits as if nothing had been.")
def test_interrupts_of_a_first_fit(amount, run):
    number = amount("interrupts of a first fit", quick=6, full=150)
    runs = [line.split() for line in run(INTERRUPTS, str(number))]
    assert [same for _, _, same in runs] == ["True"] * number
    assert any(in_time == "True" for _, in_time, _ in runs)


def test_ctrl_c_comes_when_the_import_is_done(tmp_path, monkeypatch):
    (tmp_path / "slow_module.py").write_text("import time; time.sleep(0.3); done = True")
    monkeypatch.syspath_prepend(tmp_path)
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        with pytest.raises(KeyboardInterrupt):
            import_whole("slow_module")
    finally:
        signal.signal(signal.SIGALRM, before)
    assert sys.modules.pop("slow_module").done


def test_an_import_that_fails_is_its_error():
    for _ in range(2):
        with pytest.raises(ModuleNotFoundError, match=r"skvim\._no_such_module"):
            import_whole("skvim._no_such_module")


def test_an_import_where_no_thread_can_start(monkeypatch):
    def refuse(thread):
        raise RuntimeError("can't create new thread at interpreter shutdown")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert import_whole("wave").__name__ == "wave"


def test_a_module_that_imports_while_it_is_imported_does_not_wait_for_itself(tmp_path):
    (tmp_path / "first.py").write_text(
        "from skvim._uninterrupted import import_whole\nimport_whole('second')\n"
    )
    (tmp_path / "second.py").write_text("import first\n")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    command = [
        sys.executable,
        "-c",
        "import first, sys; print(sys.modules['second'].first is first)",
    ]
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == "True\n"
