"""Small archives in the official formats."""

import gzip
import hashlib
import io
import os
import pickle
import subprocess
import sys
import tarfile
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from PIL import Image

from skvim import datasets
from skvim.datasets import _celeba, _cifar10, _mnist, _omniglot
from skvim.datasets._download import Remote


def sha256(content):
    return hashlib.sha256(content).hexdigest()


def official(name, content):
    return Remote(name, len(content), f"sha256:{sha256(content)}", ())


@dataclass(frozen=True)
class StandIn:
    """A small data set: its official files, and what they hold."""

    name: str
    module: ModuleType
    archive: Any
    files: dict[str, bytes]
    images: np.ndarray
    target: np.ndarray
    n_train: int

    @property
    def fetch(self):
        return getattr(datasets, f"fetch_{self.name}")

    def write(self, home):
        folder = home / self.name
        folder.mkdir(parents=True)
        for name, content in self.files.items():
            (folder / name).write_bytes(content)
        return home

    def everything(self, home):
        """Fetch all rows in full size."""
        options = {"image_size": 105} if self.name == "omniglot" else {}
        return self.fetch(data_home=home, subset="all", **options)

    def stored(self, home):
        return sorted(path.name for path in (home / self.name).glob("*.npy"))

    def offered_by(self, *mirrors):
        """Return the archive with other mirrors."""
        if hasattr(self.archive, "remote"):
            return replace(self.archive, remote=replace(self.archive.remote, mirrors=mirrors))
        remotes = tuple(replace(remote, mirrors=mirrors) for remote in self.archive.remotes)
        return replace(self.archive, remotes=remotes)

    def start(self, home, archive, before=""):
        """Fetch in a new process, which prints the checksum of what it got."""
        code = f"""if True:
            import hashlib, importlib.util, os, pickle, signal, sys, time, types
            # Without the models, and so without torch: that takes seconds.
            package = types.ModuleType("skvim")
            package.__path__ = list(importlib.util.find_spec("skvim").submodule_search_locations)
            sys.modules["skvim"] = package
            from skvim import datasets
            from skvim.datasets import _store, _{self.name} as module
            module.OFFICIAL = pickle.loads(bytes.fromhex({pickle.dumps(archive).hex()!r}))
            {before}
            data = datasets.fetch_{self.name}(data_home={str(home)!r}, subset="all").data
            print(hashlib.sha256(data.tobytes()).hexdigest())
        """
        pipe = subprocess.PIPE
        return subprocess.Popen([sys.executable, "-c", code], stdout=pipe, stderr=pipe, text=True)


def mnist():
    rng = np.random.default_rng(0)
    sizes = (50, 20)
    images = rng.integers(256, size=(70, 28, 28), dtype=np.uint8)
    target = rng.integers(10, size=70, dtype=np.uint8)
    files, start = {}, 0
    for part, n in zip(("train", "t10k"), sizes, strict=True):
        rows = slice(start, start + n)
        for kind, values in (("images-idx3", images[rows]), ("labels-idx1", target[rows])):
            header = np.array([0x0800 + values.ndim, *values.shape], ">u4").tobytes()
            files[f"{part}-{kind}-ubyte.gz"] = gzip.compress(header + values.tobytes(), mtime=0)
        start += n
    archive = _mnist.Archive(
        sizes=sizes,
        n_wae_test=15,
        digests=(sha256(target.tobytes()), sha256(images.tobytes())),
        remotes=tuple(official(name, file) for name, file in files.items()),
    )
    return StandIn("mnist", _mnist, archive, files, images, target, 50)


def cifar10():
    rng = np.random.default_rng(1)
    images = rng.integers(256, size=(60, 32, 32, 3), dtype=np.uint8)
    target = rng.integers(10, size=60, dtype=np.uint8)
    records = np.concatenate(
        [target[:, None], images.transpose(0, 3, 1, 2).reshape(60, -1)], axis=1
    ).reshape(6, 10, -1)
    names = [*(f"data_batch_{number}.bin" for number in range(1, 6)), "test_batch.bin"]
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, part in list(zip(names, records, strict=True))[::-1]:  # any order
            info = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            info.size = part.nbytes
            archive.addfile(info, io.BytesIO(part.tobytes()))
    content = buffer.getvalue()
    archive = _cifar10.Archive(
        n_per_file=10,
        n_wae_test=7,
        digests=(sha256(target.tobytes()), sha256(images.tobytes())),
        remote=official("cifar-10-binary.tar.gz", content),
    )
    files = {"cifar-10-binary.tar.gz": content}
    return StandIn("cifar10", _cifar10, archive, files, images, target, 50)


def omniglot():
    rng = np.random.default_rng(2)
    alphabets = ({"Abc": 2, "Xyz": 1}, {"Runes_(old)": 6})
    sets = ("images_background", "images_evaluation")
    ink = rng.random((9 * 20, 105, 105)) < 0.1
    files, drawings = {}, iter(ink)
    for name, counts in zip(sets, alphabets, strict=True):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            for alphabet, n_characters in counts.items():
                for number in range(1, n_characters + 1):
                    for drawer in range(1, 21):
                        png = io.BytesIO()
                        Image.fromarray(~next(drawings)).save(png, "PNG")
                        path = (
                            f"{name}/{alphabet}/character{number:02d}/0{number}77_{drawer:02d}.png"
                        )
                        archive.writestr(path, png.getvalue())
        files[f"{name}.zip"] = buffer.getvalue()
    images = np.where(ink, 255, 0).astype(np.uint8)
    archive = _omniglot.Archive(
        sets=sets,
        alphabets=alphabets,
        digest=sha256(images.tobytes()),
        remotes=tuple(official(name, file) for name, file in files.items()),
    )
    target = np.repeat(np.arange(9), 20)
    return StandIn("omniglot", _omniglot, archive, files, images, target, 60)


def celeba():
    """Return faces, of which every pixel of the centre has the colour of the image."""
    rng = np.random.default_rng(3)
    colours = rng.integers(30, 220, size=(12, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for number, colour in enumerate(colours, start=1):
            pixels = np.full((218, 178, 3), colour)
            pixels[:30] = pixels[-30:] = pixels[:, :10] = pixels[:, -10:] = 255
            jpeg = io.BytesIO()
            Image.fromarray(pixels).save(jpeg, "JPEG", quality=100, subsampling=0)
            archive.writestr(f"img_align_celeba/{number:06d}.jpg", jpeg.getvalue())
    attributes = rng.integers(2, size=(12, 40))
    names = " ".join(f"Attribute_{number}" for number in range(40))
    rows = [
        f"{number:06d}.jpg  " + "  ".join(str(2 * value - 1) for value in row)
        for number, row in enumerate(attributes, start=1)
    ]
    files = {
        "img_align_celeba.zip": buffer.getvalue(),
        "list_attr_celeba.txt": "\n".join(["12", names, *rows, ""]).encode(),
    }
    archive = _celeba.Archive(n_images=12, last_train=6, last_valid=8, n_wae_test=3)
    images = np.broadcast_to(colours[:, None, None], (12, 64, 64, 3))
    return StandIn("celeba", _celeba, archive, files, images, attributes, 6)


MAKERS = {"mnist": mnist, "cifar10": cifar10, "omniglot": omniglot, "celeba": celeba}


@pytest.fixture(scope="session")
def _made():
    return {}


@pytest.fixture
def make(_made, monkeypatch):
    """Return what makes a stand-in and has it taken for the official data set."""

    def make(name):
        if name not in _made:
            _made[name] = MAKERS[name]()
        monkeypatch.setattr(_made[name].module, "OFFICIAL", _made[name].archive)
        return _made[name]

    return make


@pytest.fixture(params=["mnist", "cifar10", "omniglot"])
def downloaded(request, make):
    """Each of the data sets that can be downloaded."""
    return make(request.param)


@pytest.fixture(scope="session")
def real_home(tmp_path_factory):
    """A data home with the official files, linked to the folder that SKVIM_TEST_DATA names.

    What is decoded goes beside the links and leaves that folder as it is.
    """
    given = os.environ.get("SKVIM_TEST_DATA")
    if not given:
        pytest.skip("SKVIM_TEST_DATA names no data home with the official files")
    home = tmp_path_factory.mktemp("home")
    for folder in Path(given).iterdir():
        (home / folder.name).mkdir()
        for path in folder.iterdir():
            if path.suffix not in {".npy", ".lock"} and not path.name.startswith("."):
                (home / folder.name / path.name).symlink_to(path.absolute())
    return home
