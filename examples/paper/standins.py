"""Small images for runs without a data home: scikit-learn's digits in other clothes.

They have the shapes and the structure of the real data and nothing else in common with them:
figures measured on them say that the programs run, and no more.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits

__all__ = ["five_characters", "standin"]

_DRAWINGS, _ROTATIONS, _CHARACTERS = 20, 4, 5

Arrays = tuple[NDArray[Any], NDArray[Any]]


def standin(name: str) -> dict[str, Arrays]:
    """Return images of shape (n, height, width, channels) and labels, for training and testing."""
    images, digits = load_digits(return_X_y=True)
    images = (images.reshape(-1, 8, 8) / 16).astype(np.float32)
    if name == "omniglot":
        known = digits < _CHARACTERS
        grey = _enlarged(images, 28)
        return {"train": (grey[known], digits[known]), "test": (grey[~known], digits[~known])}
    grey = _enlarged(images, 28 if name == "mnist" else 32)
    pictures = grey if name == "mnist" else _coloured(grey)
    return {"train": (pictures[:1300], digits[:1300]), "test": (pictures[1300:], digits[1300:])}


def five_characters(images: NDArray[Any], target: NDArray[Any], seed: int) -> dict[str, Arrays]:
    """Return a task of five characters: a quarter of the drawings test, in all four rotations."""
    generator = np.random.default_rng(seed)
    characters = generator.choice(np.unique(target), _CHARACTERS, replace=False)
    parts: dict[str, list[Arrays]] = {"train": [], "test": []}
    for label, character in enumerate(np.sort(characters)):
        drawings = generator.permutation(np.flatnonzero(target == character))[:_DRAWINGS]
        cut = 3 * len(drawings) // 4
        for part, rows in (("train", drawings[:cut]), ("test", drawings[cut:])):
            turned = [np.rot90(images[rows], k, axes=(1, 2)) for k in range(_ROTATIONS)]
            together = np.concatenate(turned)
            parts[part].append((together, np.full(len(together), label)))
    return {part: _joined(pieces) for part, pieces in parts.items()}


def _joined(pieces: list[Arrays]) -> Arrays:
    images, labels = zip(*pieces, strict=True)
    return np.concatenate(images), np.concatenate(labels)


def _enlarged(images: NDArray[Any], size: int) -> NDArray[Any]:
    """Repeat pixels and add a margin: (n, 8, 8) to (n, size, size, 1)."""
    factor = size // 8
    large = images.repeat(factor, axis=1).repeat(factor, axis=2)
    margin = size - 8 * factor
    edge = (margin // 2, margin - margin // 2)
    return np.pad(large, ((0, 0), edge, edge))[..., None]


def _coloured(grey: NDArray[Any]) -> NDArray[Any]:
    """Give every image a colour of ink and one of paper."""
    generator = np.random.default_rng(0)
    ink, paper = generator.random((2, len(grey), 1, 1, 3), dtype=np.float32)
    return grey * ink + (1 - grey) * paper
