"""Small images for runs without a data home: scikit-learn's digits in other clothes.

They have the shapes and the structure of the real data and nothing else in common with them:
figures measured on them say that the programs run, and no more.
"""

import numpy as np
from sklearn.datasets import load_digits

_DRAWINGS, _ROTATIONS, _CHARACTERS = 20, 4, 5


def standin(name):
    """Return images of shape (n, height, width, channels) and labels, for training and testing."""
    images, digits = load_digits(return_X_y=True)
    images = (images.reshape(-1, 8, 8) / 16).astype(np.float32)
    if name == "omniglot":
        known = digits < _CHARACTERS
        grey = _enlarged(images, 28)
        return {"train": (grey[known], digits[known]), "test": (grey[~known], digits[~known])}
    pictures = _enlarged(images, 28) if name == "mnist" else _coloured(_enlarged(images, 32))
    return {"train": (pictures[:1300], digits[:1300]), "test": (pictures[1300:], digits[1300:])}


def five_characters(images, target, seed):
    """Return a task of five characters: a quarter of the drawings test, in all four rotations."""
    generator = np.random.default_rng(seed)
    characters = generator.choice(np.unique(target), _CHARACTERS, replace=False)
    rows = {"train": [], "test": []}
    for character in np.sort(characters):
        drawings = generator.permutation(np.flatnonzero(target == character))[:_DRAWINGS]
        cut = 3 * len(drawings) // 4
        rows["train"].append(drawings[:cut])
        rows["test"].append(drawings[cut:])
    parts = {}
    for part, drawings in rows.items():
        turned = [np.rot90(images[d], k, axes=(1, 2)) for d in drawings for k in range(_ROTATIONS)]
        labels = np.repeat(range(_CHARACTERS), [_ROTATIONS * len(d) for d in drawings])
        parts[part] = (np.concatenate(turned), labels)
    return parts


def _enlarged(images, size):
    """Repeat pixels and add a margin: (n, 8, 8) to (n, size, size, 1)."""
    factor = size // 8
    large = images.repeat(factor, axis=1).repeat(factor, axis=2)
    margin = size - 8 * factor
    edge = (margin // 2, margin - margin // 2)
    return np.pad(large, ((0, 0), edge, edge))[..., None]


def _coloured(grey):
    """Give every image a colour of ink and one of paper."""
    generator = np.random.default_rng(0)
    ink, paper = generator.random((2, len(grey), 1, 1, 3), dtype=np.float32)
    return grey * ink + (1 - grey) * paper
