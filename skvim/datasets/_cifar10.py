"""CIFAR-10: small colour photographs."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, final

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import Bunch

from skvim._validation import check_arguments
from skvim.datasets._archives import (
    decoding_errors,
    open_tar,
    read_bounded,
    read_file,
    verify_digests,
)
from skvim.datasets._descriptions import CIFAR10
from skvim.datasets._download import Remote, fetch_file
from skvim.datasets._home import DataHome, get_data_home
from skvim.datasets._result import OPTIONS, SPLIT, make_result, select_rows
from skvim.datasets._store import Chunks, StoredArray, load_or_build

__all__ = ["OFFICIAL", "Archive", "fetch_cifar10"]

_FOLDER = "cifar-10-batches-bin"
_FILES = (*(f"data_batch_{number}.bin" for number in range(1, 6)), "test_batch.bin")
_RECORD = 1 + 3 * 32 * 32  # label, then the planes of red, green and blue
_REMAINDER = 1 << 18  # bytes in an archive beyond the six files: headers, padding, short texts
_NAMES = (
    *("airplane", "automobile", "bird", "cat", "deer"),
    *("dog", "frog", "horse", "ship", "truck"),
)


@final
@dataclass(frozen=True)
class Archive:
    """The archive, its six files of equal length, and the SHA-256 of all labels and images."""

    n_per_file: int
    n_wae_test: int
    digests: tuple[str, str]
    remote: Remote

    @property
    def arrays(self) -> list[StoredArray]:
        """Describe the stored arrays."""
        n = len(_FILES) * self.n_per_file
        return [StoredArray("targets", (n,)), StoredArray("images", (n, 32, 32, 3))]


OFFICIAL = Archive(
    n_per_file=10_000,
    n_wae_test=1_000,
    digests=(
        "3edb456524d5918aefded81f5aef7c32efab2a788211df998a4eb0c8957baa1f",
        "0ac3ab5c78edb36ac68f69e287fd8f957b2d4f820b80e5fa9bd05c810fc0d95d",
    ),
    remote=Remote(
        "cifar-10-binary.tar.gz",
        170_052_171,
        "md5:c32a1d4ab5d03f1284b67883e8d87530",
        (
            "https://www.cs.toronto.edu/~kriz",
            "https://storage.googleapis.com/s4tf-hosted-binaries/datasets/CIFAR10",
            "https://mindspore-website.obs.cn-north-4.myhuaweicloud.com/notebook/datasets",
        ),
    ),
)


@check_arguments(**OPTIONS, split=SPLIT, download_if_missing=["boolean"])
def fetch_cifar10(
    *,
    data_home: DataHome = None,
    subset: str = "train",
    split: str = "standard",
    return_X_y: bool = False,
    as_images: bool = False,
    download_if_missing: bool = True,
) -> Bunch | tuple[NDArray[Any], NDArray[Any]]:
    """Load CIFAR-10: 60,000 colour images of 32 × 32 pixels in 10 classes.

    The first call decodes the official binary archive, or its unpacked folder
    ``cifar-10-batches-bin``, in the folder ``cifar10`` of the data home; it downloads the archive
    (162 MiB) unless one of them is there already. Later calls check the stored arrays and map
    them into memory.

    Parameters
    ----------
    data_home : str, path-like or None, default=None
        Where data sets are kept, see :func:`get_data_home`.
    subset : {"train", "test", "all"}, default="train"
        Which rows to return.
    split : {"standard", "wae"}, default="standard"
        ``"standard"``: the first 50,000 rows are for training and 10,000 for testing. ``"wae"``:
        as in the reference code of Wasserstein autoencoders, all 60,000 are shuffled with its seed
        and the last 1,000 are for testing; this copies the rows into memory.
    return_X_y : bool, default=False
        Return ``(data, target)`` instead of a Bunch.
    as_images : bool, default=False
        Give ``data`` the shape of ``images``.
    download_if_missing : bool, default=True
        With False, raise an error instead of downloading.

    Returns
    -------
    Bunch or tuple of two ndarrays
        With these fields, arrays being read-only where they are mapped from a file:

        - ``data``: ndarray of shape (n_samples, 3072), uint8 in [0, 255]; the three colours of a
          pixel are adjacent;
        - ``images``: the same memory as (n_samples, 32, 32, 3), red, green, blue;
        - ``target``: ndarray of shape (n_samples,), int64, the class;
        - ``target_names``: ndarray of shape (10,), str;
        - ``DESCR``: source, licence and citation.

    Raises
    ------
    skvim.exceptions.DatasetError
        If the archive cannot be found, downloaded, decoded or stored.
    skvim.exceptions.MissingExtraError
        If a package of the extra ``data`` is needed and missing.

    Examples
    --------
    >>> from skvim.datasets import fetch_cifar10
    >>> cifar = fetch_cifar10(subset="test")  # doctest: +SKIP
    >>> cifar.data.shape, cifar.images.shape  # doctest: +SKIP
    ((10000, 3072), (10000, 32, 32, 3))
    """
    folder = Path(get_data_home(data_home), "cifar10")
    archive = OFFICIAL
    build = partial(_decode, folder, archive, download_if_missing)
    targets, images = load_or_build(folder, archive.arrays, build)
    rows = select_rows(
        subset,
        split,
        n_train=5 * archive.n_per_file,
        n_wae_test=archive.n_wae_test,
        n_rows=len(images),
    )
    return make_result(
        images[rows],
        targets[rows].astype(np.int64),
        return_X_y=return_X_y,
        as_images=as_images,
        target_names=np.array(_NAMES),
        DESCR=CIFAR10,
    )


def _decode(folder: Path, archive: Archive, download_if_missing: bool) -> Chunks:
    """Yield labels and images, file by file."""
    source = folder / _FOLDER
    if not source.is_dir():
        source = fetch_file(folder, archive.remote, download_if_missing)
    return verify_digests(_records(source, archive.n_per_file), archive.digests, source)


def _records(source: Path, n: int) -> Chunks:
    read = _reader(source, n * _RECORD)
    for name in _FILES:
        with decoding_errors(source):
            content = read(name)
            if len(content) != n * _RECORD:
                raise ValueError(f"{name} has {len(content)} bytes instead of {n * _RECORD}")
        records = np.frombuffer(content, np.uint8).reshape(n, _RECORD)
        yield records[:, 0], records[:, 1:].reshape(n, 3, 32, 32).transpose(0, 2, 3, 1)


def _reader(source: Path, n_bytes: int) -> Callable[[str], bytes]:
    """Return a function that reads one of the six files from the folder or the archive."""
    if source.is_dir():
        return lambda name: read_file(source / name, n_bytes)
    members = {}
    limit = len(_FILES) * n_bytes + _REMAINDER
    # In one pass, as reaching a file in a packed archive means unpacking all before it.
    with decoding_errors(source), open_tar(source, limit) as archive:
        for member in archive:
            name = PurePosixPath(member.name).name
            # Links are not followed.
            file = archive.extractfile(member) if name in _FILES and member.isreg() else None
            if file is not None:
                members[name] = read_bounded(file, n_bytes, name)
        missing = sorted(set(_FILES) - set(members))
        if missing:
            raise ValueError(f"it lacks {', '.join(missing)}")
    return members.__getitem__
