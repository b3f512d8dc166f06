"""Omniglot: handwritten characters of many alphabets."""

import re
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, final

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import Bunch

from skvim._uninterrupted import import_whole
from skvim._validation import StrOptions, check_arguments, draw_seed, integer
from skvim.datasets._archives import (
    decoding_errors,
    open_picture,
    open_source,
    verify_digests,
)
from skvim.datasets._catalogue import ALPHABETS
from skvim.datasets._descriptions import FIVE_CHARACTERS, OMNIGLOT
from skvim.datasets._download import Remote, fetch_file
from skvim.datasets._extras import require_extra
from skvim.datasets._home import DataHome, get_data_home
from skvim.datasets._resize import average_areas
from skvim.datasets._result import OPTIONS, make_result, subset_slice
from skvim.datasets._store import Chunks, StoredArray, load_or_build

__all__ = ["OFFICIAL", "Archive", "fetch_omniglot"]

_SIZE = 105  # pixels per side of a drawing
_LARGEST = 1 << 14  # bytes of a drawing's file; officially at most 522, and 1,575 uncompressed
_DRAWERS = 20  # per character
_ROTATIONS = 4


@final
@dataclass(frozen=True)
class Archive:
    """The two archives, their alphabets with the number of characters, and one SHA-256.

    The background set comes first. The SHA-256 is that of all drawings in their original size.
    """

    sets: tuple[str, str]
    alphabets: tuple[Mapping[str, int], Mapping[str, int]]
    digest: str
    remotes: tuple[Remote, Remote]

    @property
    def n_background(self) -> int:
        """Number of characters in the background set."""
        return sum(self.alphabets[0].values())

    @property
    def characters(self) -> list[tuple[str, str, str]]:
        """Set, alphabet and character, in the order of the images."""
        return [
            (name, alphabet, f"character{number:02d}")
            for name, alphabets in zip(self.sets, self.alphabets, strict=True)
            for alphabet, n_characters in alphabets.items()
            for number in range(1, n_characters + 1)
        ]

    def images(self, size: int) -> StoredArray:
        """Describe the stored array."""
        n = _DRAWERS * len(self.characters)
        return StoredArray(f"images-{size}x{size}", (n, size, size))


_MIRRORS = (
    "https://raw.githubusercontent.com/brendenlake/omniglot/master/python",
    "https://github.com/brendenlake/omniglot/raw/master/python",
)
OFFICIAL = Archive(
    sets=("images_background", "images_evaluation"),
    alphabets=ALPHABETS,
    digest="061691d78adaa9b335b1e4876c121f2cbe4dde34762da3b948fbd8f91dfb85d9",
    remotes=(
        Remote(
            "images_background.zip", 9_464_212, "md5:68d2efa1b9178cc56df9314c21c6e718", _MIRRORS
        ),
        Remote(
            "images_evaluation.zip", 6_462_886, "md5:6b91aef0f799c5bb55b94e3f2daec811", _MIRRORS
        ),
    ),
)


@check_arguments(
    **OPTIONS,
    task=[StrOptions({"five-characters"}), None],
    image_size=[integer(1, _SIZE, closed="both")],
    random_state=["random_state"],
    download_if_missing=["boolean"],
)
def fetch_omniglot(
    *,
    data_home: DataHome = None,
    subset: str = "train",
    task: str | None = None,
    image_size: int = 28,
    random_state: Any = 0,
    return_X_y: bool = False,
    as_images: bool = False,
    download_if_missing: bool = True,
) -> Bunch | tuple[NDArray[Any], NDArray[Any]]:
    """Load Omniglot: 20 drawings of each of 1,623 characters from 50 alphabets.

    The first call decodes the official archives, or their unpacked folders ``images_background``
    and ``images_evaluation``, in the folder ``omniglot`` of the data home; it downloads the
    archives (16 MB) unless they are there already. Later calls check the stored array and map
    it into memory.

    Parameters
    ----------
    data_home : str, path-like or None, default=None
        Where data sets are kept, see :func:`get_data_home`.
    subset : {"train", "test", "all"}, default="train"
        Which rows to return: the background set of 964 characters is for training, the evaluation
        set of 659 for testing. They have no alphabet in common.
    task : {"five-characters"} or None, default=None
        ``"five-characters"`` gives a task as in the paper: of five characters of the evaluation
        set, 60 images each for training and 20 for testing, made of 20 drawings in four rotations.
        All rotations of a drawing are on one side. ``DESCR`` says what the paper leaves open.
    image_size : int in [1, 105], default=28
        Pixels per side, by averaging over equal areas; 105 are the original drawings.
    random_state : int, RandomState instance or None, default=0
        Which characters and drawings a task takes. Only with the same int at each call do
        ``"train"`` and ``"test"`` belong to one task: None takes fresh entropy, and a
        ``RandomState`` advances. Without a task it has no influence.
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

        - ``data``: ndarray of shape (n_samples, image_size²), uint8; ink is 255, paper 0;
        - ``images``: the same memory as (n_samples, image_size, image_size);
        - ``target``: ndarray of shape (n_samples,), int64, the character, an index into
          ``target_names`` and the same in every subset: evaluation starts at 964;
        - ``target_names``: ndarray of str, alphabet and character, of all 1,623 or of the task;
        - ``alphabet``: ndarray of shape (n_samples,), int64, an index into ``alphabet_names``;
        - ``alphabet_names``: ndarray of shape (50,), str;
        - ``drawer``: ndarray of shape (n_samples,), int64 in [1, 20]; a number stands for one
          person within an alphabet only;
        - ``rotation``: with a task, ndarray of shape (n_samples,), int64, degrees, against the
          clock;
        - ``DESCR``: source, licence and citation.

    Raises
    ------
    skvim.exceptions.DatasetError
        If the archives cannot be found, downloaded, decoded or stored.
    skvim.exceptions.MissingExtraError
        If a package of the extra ``data`` is needed and missing.

    Examples
    --------
    >>> from skvim.datasets import fetch_omniglot
    >>> task = fetch_omniglot(task="five-characters", random_state=0)  # doctest: +SKIP
    >>> task.data.shape, task.target_names.shape  # doctest: +SKIP
    ((300, 784), (5,))
    """
    folder = Path(get_data_home(data_home), "omniglot")
    archive = OFFICIAL
    build = partial(_decode, folder, archive, image_size, download_if_missing)
    (images,) = load_or_build(folder, [archive.images(image_size)], build)
    if task is not None:
        return _five_characters(images, archive, subset, random_state, return_X_y, as_images)
    rows = subset_slice(subset, _DRAWERS * archive.n_background)
    return make_result(
        images[rows],
        np.arange(len(images))[rows] // _DRAWERS,
        return_X_y=return_X_y,
        as_images=as_images,
        target_names=_names(archive),
        DESCR=OMNIGLOT,
        **_origins(archive, np.arange(len(images))[rows]),
    )


def _names(archive: Archive) -> NDArray[np.str_]:
    return np.array([f"{alphabet}/{character}" for _, alphabet, character in archive.characters])


def _origins(archive: Archive, drawings: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
    """Return alphabet and drawer of drawings, given by their indices in the stored array."""
    counts = {name: n for alphabets in archive.alphabets for name, n in alphabets.items()}
    alphabet_of_character = np.repeat(np.arange(len(counts)), list(counts.values()))
    return {
        "alphabet": alphabet_of_character[drawings // _DRAWERS],
        "alphabet_names": np.array(list(counts)),
        "drawer": drawings % _DRAWERS + 1,
    }


def _five_characters(
    images: NDArray[Any],
    archive: Archive,
    subset: str,
    random_state: Any,
    return_X_y: bool,
    as_images: bool,
) -> Bunch | tuple[NDArray[Any], NDArray[Any]]:
    """Choose five characters and rotate their drawings; no drawing is in both subsets."""
    generator = np.random.default_rng(draw_seed(random_state))
    n_characters = len(images) // _DRAWERS
    evaluation = np.arange(archive.n_background, n_characters)
    characters = np.sort(generator.choice(evaluation, 5, replace=False))
    shuffled = np.array([generator.permutation(_DRAWERS) for _ in characters])
    n_train = 3 * _DRAWERS // 4
    parts = {"train": [shuffled[:, :n_train]], "test": [shuffled[:, n_train:]]}
    parts["all"] = parts["train"] + parts["test"]
    # Training rows first, then by character.
    drawings = np.concatenate(
        [(characters[:, None] * _DRAWERS + side).ravel() for side in parts[subset]]
    )
    turned = [np.rot90(images[drawings], k, axes=(1, 2)) for k in range(_ROTATIONS)]
    repeated = np.repeat(drawings, _ROTATIONS)
    return make_result(
        np.stack(turned, axis=1).reshape(-1, *images.shape[1:]),
        np.searchsorted(characters, repeated // _DRAWERS),
        return_X_y=return_X_y,
        as_images=as_images,
        target_names=_names(archive)[characters],
        rotation=np.tile(np.arange(_ROTATIONS) * 90, len(drawings)),
        DESCR=f"{OMNIGLOT}\n{FIVE_CHARACTERS}",
        **_origins(archive, repeated),
    )


def _decode(folder: Path, archive: Archive, size: int, download_if_missing: bool) -> Chunks:
    """Yield the drawings, character by character, in the requested size."""
    sources = {}
    for name, remote in zip(archive.sets, archive.remotes, strict=True):
        unpacked = folder / name
        sources[name] = (
            unpacked if unpacked.is_dir() else fetch_file(folder, remote, download_if_missing)
        )
    with require_extra("Pillow", "Decoding Omniglot"):
        import_whole("PIL.Image")

    def drawings() -> Chunks:
        for name, source in sources.items():
            expected = [character for character in archive.characters if character[0] == name]
            yield from _read_set(source, ["/".join(parts) for parts in expected])

    for (ink,) in verify_digests(drawings(), [archive.digest], folder):
        yield (ink if size == _SIZE else average_areas(ink, size),)


def _read_set(source: Path, characters: list[str]) -> Chunks:
    """Yield the drawings of each character as (20, 105, 105), 255 where there is ink."""
    with decoding_errors(source), open_source(source, _LARGEST) as (names, read):
        drawings = defaultdict(list)
        for name in names:
            if re.fullmatch(r"[0-9]+_[0-9]+\.png", PurePosixPath(name).name):
                drawings[str(PurePosixPath(name).parent)].append(name)
        drawers = [f"{number:02d}.png" for number in range(1, _DRAWERS + 1)]
        for character in characters:
            files = drawings[character]
            if [name.rpartition("_")[2] for name in files] != drawers:
                raise ValueError(
                    f"{character} should hold {_DRAWERS} drawings named NNNN_01.png to "
                    f"NNNN_{_DRAWERS}.png, and holds {len(files)}"
                )
            yield (np.stack([_read_drawing(name, read) for name in files]),)


def _read_drawing(name: str, read: Callable[[str], bytes]) -> NDArray[np.uint8]:
    with open_picture(name, read(name), "PNG", (_SIZE, _SIZE)) as image:
        if image.mode != "1":
            raise ValueError(f"it has mode {image.mode} instead of single bits")
        paper = np.asarray(image)
    return np.where(paper, 0, 255).astype(np.uint8)
