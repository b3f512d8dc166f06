"""CelebA: images of faces, read from the user's own copy."""

import hashlib
import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, final

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.utils import Bunch

from skvim._uninterrupted import import_whole
from skvim._validation import check_arguments
from skvim.datasets._archives import decoding_errors, open_picture, open_source, read_file
from skvim.datasets._descriptions import CELEBA
from skvim.datasets._extras import require_extra
from skvim.datasets._home import DataHome, get_data_home
from skvim.datasets._result import OPTIONS, SPLIT, Rows, make_result, python_2_order, subset_slice
from skvim.datasets._store import Chunks, StoredArray, load_or_build
from skvim.exceptions import DatasetError

__all__ = ["OFFICIAL", "Archive", "fetch_celeba"]

_SOURCES = ("img_align_celeba", "img_align_celeba.zip")
_GIVEN = (178, 218)  # width and height of an aligned image
_LARGEST = 1 << 18  # bytes of an image's file; 116,412 uncompressed
_ROW = 256  # most bytes of one row of a table
_CROP = 140
_SIZE = 64
_REMEDY = (
    "skvim may not download CelebA. Agree to its terms at "
    "mmlab.ie.cuhk.edu.hk/projects/CelebA.html and put {files} of the aligned and cropped images "
    "into {folder}."
)


@final
@dataclass(frozen=True)
class Archive:
    """Number of images, and the number of the last one in each official part."""

    n_images: int
    last_train: int
    last_valid: int
    n_wae_test: int

    @property
    def names(self) -> list[str]:
        """Names of all images, in order."""
        return [f"{number:06d}.jpg" for number in range(1, self.n_images + 1)]


OFFICIAL = Archive(n_images=202_599, last_train=162_770, last_valid=182_637, n_wae_test=20_000)


@check_arguments(**OPTIONS, split=SPLIT, download_if_missing=["boolean"])
def fetch_celeba(
    *,
    data_home: DataHome = None,
    subset: str = "train",
    split: str = "standard",
    return_X_y: bool = False,
    as_images: bool = False,
    download_if_missing: bool = True,
) -> Bunch | tuple[NDArray[Any], NDArray[Any]]:
    """Load CelebA: 202,599 faces, cropped and resized to 64 × 64 pixels, with 40 attributes.

    Its terms forbid passing the images on, so nothing is downloaded. Put your own copy into the
    folder ``celeba`` of the data home: ``img_align_celeba.zip`` or the unpacked folder
    ``img_align_celeba`` and, for what they hold, ``list_attr_celeba.txt`` and
    ``list_eval_partition.txt``. Part of the images works as well. The first call decodes them,
    which takes minutes; later calls check the stored array (2.5 GB), for a second, and map it into
    memory.

    Parameters
    ----------
    data_home : str, path-like or None, default=None
        Where data sets are kept, see :func:`get_data_home`.
    subset : {"train", "test", "all"}, default="train"
        Which rows to return. The validation part of the official split is in ``"all"`` only.
    split : {"standard", "wae"}, default="standard"
        ``"standard"``: as ``list_eval_partition.txt`` says, or without that file the official
        parts, which are those of the images' numbers. ``"wae"``: as in the reference code of
        Wasserstein autoencoders, all images are shuffled with its seed and the last 20,000 are for
        testing; this needs all images and copies the rows into memory.
    return_X_y : bool, default=False
        Return ``(data, target)`` instead of a Bunch. Needs the attributes.
    as_images : bool, default=False
        Give ``data`` the shape of ``images``.
    download_if_missing : bool, default=True
        For consistency with the other data sets. Nothing is downloaded in either case.

    Returns
    -------
    Bunch or tuple of two ndarrays
        With these fields, arrays being read-only where they are mapped from a file:

        - ``data``: ndarray of shape (n_samples, 12288), uint8 in [0, 255]; the three colours of a
          pixel are adjacent;
        - ``images``: the same memory as (n_samples, 64, 64, 3), red, green, blue: the central 140 ×
          140 pixels, resized with Lanczos' filter, which averages;
        - ``target``: ndarray of shape (n_samples, 40), int64, 1 where a face has the attribute,
          else 0; None without ``list_attr_celeba.txt``;
        - ``target_names``: ndarray of shape (40,), str, or None;
        - ``partition``: ndarray of shape (n_samples,), int64, official part: 0 training, 1
          validation, 2 testing;
        - ``filenames``: ndarray of shape (n_samples,), str;
        - ``DESCR``: source, licence and citation.

    Raises
    ------
    skvim.exceptions.DatasetError
        If the images or the requested attributes cannot be found, decoded or stored.
    skvim.exceptions.MissingExtraError
        If Pillow, of the extra ``data``, is needed and missing.
    ValueError
        If ``split="wae"`` and some of the images are missing.

    Examples
    --------
    >>> from skvim.datasets import fetch_celeba
    >>> faces = fetch_celeba(subset="test")  # doctest: +SKIP
    >>> faces.images.shape, faces.target.shape  # doctest: +SKIP
    ((19962, 64, 64, 3), (19962, 40))
    """
    folder = Path(get_data_home(data_home), "celeba")
    names = _names(folder)
    if split == "wae" and names != OFFICIAL.names:
        raise ValueError(
            f"split='wae' shuffles all {OFFICIAL.n_images} images, and {folder} has {len(names)} "
            "of them. Add the others, or use split='standard'."
        )
    attributes, partition = _attributes(folder, names), _partition(folder, names)
    if return_X_y and attributes is None:
        raise DatasetError(
            "return_X_y=True returns attributes. "
            + _REMEDY.format(files="list_attr_celeba.txt", folder=folder)
        )
    (images,) = load_or_build(folder, [_stored_array(names)], partial(_decode, folder, names))
    rows = _rows(split, subset, partition)
    return make_result(
        images[rows],
        None if attributes is None else attributes.to_numpy(np.int64)[rows],
        return_X_y=return_X_y,
        as_images=as_images,
        target_names=None if attributes is None else attributes.columns.to_numpy(str),
        partition=partition[rows],
        filenames=np.array(names)[rows],
        DESCR=CELEBA,
    )


def _names(folder: Path) -> list[str]:
    """Return the sorted names of the available images."""
    with decoding_errors(folder, _remedy(folder)):
        if _stored_array(OFFICIAL.names).path(folder).exists():
            return OFFICIAL.names  # all of them are decoded, and the archive may be gone
        source = _source(folder)
    with decoding_errors(source, _remedy(folder)), open_source(source, _LARGEST) as (paths, _):
        return sorted(_members(paths))


def _source(folder: Path) -> Path:
    """Return the folder or archive of the images."""
    for source in (folder / name for name in _SOURCES):
        if source.exists():
            return source
    raise DatasetError(f"{folder} holds no images. {_remedy(folder)}")


def _members(paths: list[str]) -> dict[str, str]:
    """Return the path of each image by its name."""
    images = [path for path in paths if re.fullmatch(r"[0-9]{6}\.jpg", PurePosixPath(path).name)]
    members = {PurePosixPath(path).name: path for path in images}
    if not members or len(members) < len(images):
        raise ValueError("it should hold each image 000001.jpg to 202599.jpg once")
    return members


def _remedy(folder: Path) -> str:
    return _REMEDY.format(files="img_align_celeba.zip", folder=folder)


def _stored_array(names: Sequence[str]) -> StoredArray:
    """Describe the stored array; a subset of the images has a hash of their names in its own."""
    mark = ""
    if names != OFFICIAL.names:
        mark = "-" + hashlib.sha256("\n".join(names).encode()).hexdigest()[:16]
    return StoredArray(f"images-{_SIZE}x{_SIZE}{mark}", (len(names), _SIZE, _SIZE, 3))


def _decode(folder: Path, names: list[str]) -> Chunks:
    """Yield the images one by one."""
    source = _source(folder)
    with require_extra("Pillow", "Decoding CelebA"):
        import_whole("PIL.Image")
    with decoding_errors(source, _remedy(folder)), open_source(source, _LARGEST) as (paths, read):
        members = _members(paths)
        for name in names:
            if name not in members:
                raise ValueError(f"it lacks {name}")
            yield (_read_face(members[name], read)[None],)


def _read_face(name: str, read: Callable[[str], bytes]) -> NDArray[np.uint8]:
    """Return the central crop of one image, resized to 64 × 64 pixels."""
    from PIL.Image import Resampling

    left, top = ((length - _CROP) // 2 for length in _GIVEN)
    with open_picture(name, read(name), "JPEG", _GIVEN) as image:
        centre = image.convert("RGB").crop((left, top, left + _CROP, top + _CROP))
        return np.asarray(centre.resize((_SIZE, _SIZE), Resampling.LANCZOS))


def _attributes(folder: Path, names: list[str]) -> pd.DataFrame | None:
    """Return the binary attributes of each image, or None if there is no file."""
    path = folder / "list_attr_celeba.txt"
    if not path.exists():
        return None
    return _read_table(path, names, [-1, 1], skiprows=1) > 0


def _partition(folder: Path, names: list[str]) -> NDArray[np.int64]:
    """Return the official part of each image, from the file or from its number."""
    path = folder / "list_eval_partition.txt"
    if path.exists():
        return _read_table(path, names, [0, 1, 2], header=None).iloc[:, 0].to_numpy(np.int64)
    numbers = np.array([int(name[:6]) for name in names])
    return np.searchsorted([OFFICIAL.last_train, OFFICIAL.last_valid], numbers).astype(np.int64)


def _read_table(path: Path, names: list[str], numbers: list[int], **options: Any) -> pd.DataFrame:
    """Read one row for each image; its entries have to be among ``numbers``."""
    with decoding_errors(path, _REMEDY.format(files=path.name, folder=path.parent)):
        content = io.BytesIO(read_file(path, _ROW * (OFFICIAL.n_images + 100)))
        table = pd.read_csv(content, sep=r"\s+", index_col=0, **options)
        missing = pd.Index(names).difference(table.index)
        if len(missing) > 0:
            raise ValueError(f"it lacks {len(missing)} of the images, such as {missing[0]}")
        rows: pd.DataFrame = table.loc[names]
        if len(rows) > len(names):
            raise ValueError("it has several rows for some of the images")
        if rows.shape[1] == 0 or not rows.isin(numbers).all(axis=None):
            raise ValueError(f"every image should have numbers out of {numbers}")
    return rows


def _rows(split: str, subset: str, partition: NDArray[np.int64]) -> Rows:
    """Return the rows of a subset, as a slice if they are contiguous."""
    if split == "wae":
        n = len(partition)
        return python_2_order(n)[subset_slice(subset, n - OFFICIAL.n_wae_test)]
    if subset == "all":
        return slice(None)
    rows = np.flatnonzero(partition == {"train": 0, "test": 2}[subset])
    if len(rows) > 0 and rows[-1] - rows[0] + 1 == len(rows):
        return slice(int(rows[0]), int(rows[-1]) + 1)
    return rows
