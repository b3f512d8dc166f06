"""MNIST: handwritten digits."""

import gzip
import math
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, final

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import Bunch

from skvim._validation import check_arguments
from skvim.datasets._archives import decoding_errors, read_bounded, verify_digests
from skvim.datasets._descriptions import MNIST
from skvim.datasets._download import Remote, fetch_file
from skvim.datasets._home import DataHome, get_data_home
from skvim.datasets._result import OPTIONS, SPLIT, make_result, select_rows
from skvim.datasets._store import Chunks, StoredArray, load_or_build

__all__ = ["OFFICIAL", "Archive", "fetch_mnist"]


@final
@dataclass(frozen=True)
class Archive:
    """The four files, for training and for testing, and the SHA-256 of all labels and images."""

    sizes: tuple[int, int]
    n_wae_test: int
    digests: tuple[str, str]
    remotes: tuple[Remote, Remote, Remote, Remote]

    @property
    def arrays(self) -> list[StoredArray]:
        """Describe the stored arrays."""
        n = sum(self.sizes)
        return [StoredArray("targets", (n,)), StoredArray("images", (n, 28, 28))]


_MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist",
    "https://storage.googleapis.com/cvdf-datasets/mnist",
    "https://sagemaker-sample-files.s3.amazonaws.com/datasets/image/MNIST",
)
OFFICIAL = Archive(
    sizes=(60_000, 10_000),
    n_wae_test=10_000,
    digests=(
        "671ff9d70b4811116d55c3dd479efa7a981e2e62753ef7a6d5c15fea81e63d27",
        "5b92582eb909c82a9bfefcd44acbe9233be3eb5b419a44cf211022ad2bf4bf96",
    ),
    remotes=(
        Remote(
            "train-images-idx3-ubyte.gz",
            9_912_422,
            "sha256:440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
            _MIRRORS,
        ),
        Remote(
            "train-labels-idx1-ubyte.gz",
            28_881,
            "sha256:3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
            _MIRRORS,
        ),
        Remote(
            "t10k-images-idx3-ubyte.gz",
            1_648_877,
            "sha256:8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
            _MIRRORS,
        ),
        Remote(
            "t10k-labels-idx1-ubyte.gz",
            4_542,
            "sha256:f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
            _MIRRORS,
        ),
    ),
)


@check_arguments(**OPTIONS, split=SPLIT, download_if_missing=["boolean"])
def fetch_mnist(
    *,
    data_home: DataHome = None,
    subset: str = "train",
    split: str = "standard",
    return_X_y: bool = False,
    as_images: bool = False,
    download_if_missing: bool = True,
) -> Bunch | tuple[NDArray[Any], NDArray[Any]]:
    """Load the MNIST handwritten digits: 70,000 grey images of 28 × 28 pixels in 10 classes.

    The first call decodes the four official files, which it downloads into the folder ``mnist`` of
    the data home unless they are there already, unpacked or not. Later calls check the
    stored arrays and map them into memory.

    Parameters
    ----------
    data_home : str, path-like or None, default=None
        Where data sets are kept, see :func:`get_data_home`.
    subset : {"train", "test", "all"}, default="train"
        Which rows to return.
    split : {"standard", "wae"}, default="standard"
        ``"standard"``: the first 60,000 rows are for training and 10,000 for testing. ``"wae"``:
        as in the reference code of Wasserstein autoencoders, all 70,000 are shuffled with its seed
        and the last 10,000 are for testing; this copies the rows into memory.
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

        - ``data``: ndarray of shape (n_samples, 784), uint8 in [0, 255], ink is high;
        - ``images``: the same memory as (n_samples, 28, 28);
        - ``target``: ndarray of shape (n_samples,), int64, the digit;
        - ``target_names``: ndarray of shape (10,), str;
        - ``DESCR``: source, licence and citation.

    Raises
    ------
    skvim.exceptions.DatasetError
        If the files cannot be found, downloaded, decoded or stored.
    skvim.exceptions.MissingExtraError
        If a package of the extra ``data`` is needed and missing.

    Examples
    --------
    >>> from skvim.datasets import fetch_mnist
    >>> X, y = fetch_mnist(return_X_y=True)  # doctest: +SKIP
    >>> X.shape, y.shape  # doctest: +SKIP
    ((60000, 784), (60000,))
    """
    folder = Path(get_data_home(data_home), "mnist")
    archive = OFFICIAL
    build = partial(_decode, folder, archive, download_if_missing)
    targets, images = load_or_build(folder, archive.arrays, build)
    rows = select_rows(
        subset,
        split,
        n_train=archive.sizes[0],
        n_wae_test=archive.n_wae_test,
        n_rows=len(images),
    )
    return make_result(
        images[rows],
        targets[rows].astype(np.int64),
        return_X_y=return_X_y,
        as_images=as_images,
        target_names=np.array([str(digit) for digit in range(10)]),
        DESCR=MNIST,
    )


def _decode(folder: Path, archive: Archive, download_if_missing: bool) -> Chunks:
    """Yield labels and images, first those for training."""
    files = [_find(folder, remote, download_if_missing) for remote in archive.remotes]

    def parts() -> Chunks:
        for n, images, labels in zip(archive.sizes, files[::2], files[1::2], strict=True):
            yield _read_idx(labels, (n,)), _read_idx(images, (n, 28, 28))

    return verify_digests(parts(), archive.digests, folder)


def _find(folder: Path, remote: Remote, download_if_missing: bool) -> Path:
    """Return the unpacked file if it exists, else the packed one."""
    unpacked = folder / Path(remote.name).stem
    return unpacked if unpacked.exists() else fetch_file(folder, remote, download_if_missing)


def _read_idx(path: Path, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Read bytes of a known shape from a file in IDX format, packed with gzip or not."""
    with decoding_errors(path):
        # Two zero bytes, 8 for unsigned bytes, the number of axes, and their lengths.
        start = np.array([0x0800 + len(shape), *shape], dtype=">u4").tobytes()
        with (gzip.open if path.suffix == ".gz" else open)(path, "rb") as file:
            content = read_bounded(file, len(start) + math.prod(shape))
        if not content.startswith(start):
            raise ValueError(f"it is no IDX file of unsigned bytes in the shape {shape}")
        return np.frombuffer(content, np.uint8, offset=len(start)).reshape(shape)
