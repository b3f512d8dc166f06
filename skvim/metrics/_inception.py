"""Features of the Inception network; only this module imports the packages that provide it."""

import math
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from skvim._layout import Layout, flatten
from skvim._modes import own_modes
from skvim._uninterrupted import import_whole
from skvim._validation import check_count, check_matrix
from skvim.engine import resolve_device
from skvim.exceptions import DatasetError, MissingExtraError
from skvim.networks._random import RandomStream, RedirectRandomness
from skvim.noise._corruptions import check_range

__all__ = ["InceptionFeatures"]

# Module and class of the network in each package.
_PACKAGES = {
    "torch-fidelity": (
        "torch_fidelity.feature_extractor_inceptionv3",
        "FeatureExtractorInceptionV3",
    ),
    "torchmetrics": ("torchmetrics.image.fid", "NoTrainInceptionV3"),
}
_LAYER = "2048"
_WEIGHTS = "weights-inception-2015-12-05-6726825d.pth"
_N_BYTES = 95_628_359
_CHECKSUM = "sha256:6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
_REMEDY = "choose another folder of torch's cache with the environment variable TORCH_HOME"
_MIRRORS = ("https://github.com/toshas/torch-fidelity/releases/download/v0.2.0",)


@final
class InceptionFeatures:
    """Inception features of images (2,048), as in published FID and KID.

    A function of images, to be passed as ``features``; ``features="inception"`` is one with all
    defaults. It needs the extra ``fid``. The network is loaded at the first call and kept.

    Parameters
    ----------
    weights : str, Path or None, default=None
        File of the network's weights, ``weights-inception-2015-12-05-6726825d.pth`` as
        torch-fidelity publishes it; loaded without running code. None is the file of this name in
        torch's cache (``torch.hub.get_dir()``), checked against its SHA-256; it is downloaded if
        it is missing, 91 MB, which needs the extra ``data``.
    value_range : (float, float) or None, default=None
        Values of black and white in X, such as (-1, 1). None uses (0, 255) for bytes and else
        (0, 1). Values outside raise an error and are not clipped.
    image_shape : (height, width) or (height, width, channels) or None, default=None
        Shape of an image if X holds flat rows. Images have 1 or 3 channels on the last axis; a
        single channel is repeated three times.
    package : {"torch-fidelity", "torchmetrics"}, default="torch-fidelity"
        Source of the network. The weights are the same, but images are resized to 299 × 299
        differently: as TensorFlow did in the code of [1]_, or with antialiasing. Distances are
        comparable only with the same package.
    batch_size : int in [1, inf), default=50
        Images per forward pass.
    device : str, default="auto"
        Device of the network; "auto" is a GPU if torch finds one.

    Notes
    -----
    The network takes bytes: other values are scaled to [0, 255] and rounded to the nearest integer.

    References
    ----------
    .. [1] M. Heusel, H. Ramsauer, T. Unterthiner, B. Nessler and S. Hochreiter (2017). GANs trained
       by a two time-scale update rule converge to a local Nash equilibrium. Advances in Neural
       Information Processing Systems 30, arXiv:1706.08500.

    Examples
    --------
    >>> from skvim.metrics import InceptionFeatures
    >>> features = InceptionFeatures("inception.pth", value_range=(-1, 1), image_shape=(64, 64, 3))
    """

    def __init__(
        self,
        weights: str | Path | None = None,
        *,
        value_range: tuple[float, float] | None = None,
        image_shape: tuple[int, ...] | None = None,
        package: str = "torch-fidelity",
        batch_size: int = 50,
        device: str = "auto",
    ) -> None:
        self.weights = weights
        self.value_range = value_range
        self.image_shape = image_shape
        self.package = package
        self.batch_size = batch_size
        self.device = device
        self._network: nn.Module | None = None

    @own_modes()
    def __call__(self, X: Any) -> NDArray[np.float64]:
        """Compute the features of images.

        Parameters
        ----------
        X : array-like of shape (n_samples, height, width[, channels]) or (n_samples, n_features)
            Images, or flat rows with ``image_shape``.

        Returns
        -------
        features : ndarray of shape (n_samples, 2048)
            In float64.

        Raises
        ------
        MissingExtraError
            If the package is not installed, or one that a download needs.
        OSError
            If the weights cannot be read or downloaded, or are damaged.
        ValueError
            If X does not hold images of 1 or 3 channels, or holds values outside ``value_range``.
        """
        images = self._images(X)
        size = check_count("batch_size", self.batch_size)
        device = resolve_device(self.device)
        if self._network is None:
            self._network = _load(self.package, self.weights)
        network = self._network.to(device)
        batches = []
        for start in range(0, len(images), size):
            batch = self._bytes(images[start : start + size]).to(device)
            with torch.no_grad():
                output = network(batch)
            # torch-fidelity returns a tuple, torchmetrics its only element.
            layer: Tensor = output[0] if isinstance(output, tuple) else output
            batches.append(layer.double().cpu().numpy())
        return np.concatenate(batches)

    def _images(self, X: Any) -> NDArray[Any]:
        """Return validated images of shape (n_samples, height, width, channels)."""
        flat, axes = flatten(X)
        rows = np.asarray(flat)
        if rows.ndim != 2 or not rows.size:
            raise ValueError(f"X must hold at least one image. Got shape {rows.shape}.")
        layout = Layout.of(rows.shape[1], axes, self.image_shape)
        if layout.image is None:
            raise ValueError(
                f"X holds flat rows of {rows.shape[1]} values. Pass images, (n_samples, height, "
                "width, channels), or features=InceptionFeatures(image_shape=...)."
            )
        if layout.image[2] not in (1, 3):
            raise ValueError(
                "Images must have 1 or 3 channels, the last axis. Got images of shape "
                f"{layout.image}; move the channels there, or drop an alpha channel."
            )
        self._check_values(rows)
        return rows.reshape(len(rows), *layout.image)

    def _check_values(self, rows: NDArray[Any]) -> None:
        """Raise ``ValueError`` unless all values are within the range."""
        low, high = self._range(rows)
        least, most = float(rows.min()), float(rows.max())
        if not math.isfinite(most - least):
            raise ValueError("X holds NaN or infinity. Pass finite pixel values.")
        if not (low <= least and most <= high):
            raise ValueError(
                f"X holds values in [{least:g}, {most:g}], but value_range is [{low:g}, {high:g}]. "
                "Set the range in InceptionFeatures(value_range=...), pass bytes, or clip X."
            )
        if self.value_range is None and rows.dtype == np.uint8 and most <= 1:
            raise ValueError(
                "X holds bytes and none is above 1, so that all images are black. If 1 is "
                "white, pass InceptionFeatures(value_range=(0, 1))."
            )

    def _range(self, rows: NDArray[Any]) -> tuple[float, float]:
        """Return the values of black and white in ``rows``."""
        if self.value_range is None:
            return (0.0, 255.0) if rows.dtype == np.uint8 else (0.0, 1.0)
        return check_range(self.value_range)

    def _bytes(self, images: NDArray[Any]) -> Tensor:
        """Return images as bytes of shape (n, 3, height, width)."""
        low, high = self._range(images)
        n, channels = len(images), images.shape[3]
        values = check_matrix("X", images.reshape(n, -1)).reshape(images.shape)
        scaled = np.rint((values - low) * (255 / (high - low))).astype(np.uint8)
        tensor = torch.from_numpy(scaled.transpose(0, 3, 1, 2).copy())
        return tensor.expand(n, 3, *tensor.shape[2:]) if channels == 1 else tensor


def _load(package: str, weights: str | Path | None) -> nn.Module:
    """Return the network with its weights, in evaluation mode."""
    if package not in _PACKAGES:
        raise ValueError(
            f"package must be 'torch-fidelity' or 'torchmetrics'. Got {package!r} instead."
        )
    location, name = _PACKAGES[package]
    try:
        kind = getattr(import_whole(location), name)
    except ImportError as error:
        raise MissingExtraError(
            f"Inception features need {package}, which cannot be imported ({error}). "
            'Run pip install "skvim[fid]".'
        ) from error
    path = _check_weights(_published_weights() if weights is None else weights)
    try:
        # Initial weights are drawn and then replaced; torch's global generator must not advance.
        with RedirectRandomness(RandomStream(0)):
            network: nn.Module = kind(name, [_LAYER], feature_extractor_weights_path=path)
    except RuntimeError as error:
        raise OSError(
            f"{path} does not hold the weights of {package}'s Inception: "
            f"{str(error).splitlines()[0]}"
        ) from error
    return network.eval()


def _published_weights() -> Path:
    """Return the path of the published weights, after downloading them if they are missing.

    torch-fidelity itself would download without a limit and load what comes, unchecked, as a
    pickle that may run code.
    """
    # Imported here, as the data sets bring pandas along.
    from skvim.datasets._download import Remote, fetch_checked

    folder = Path(torch.hub.get_dir(), "checkpoints")
    try:
        remote = Remote(_WEIGHTS, _N_BYTES, _CHECKSUM, _MIRRORS)
        return fetch_checked(folder, remote, _REMEDY)
    except DatasetError as error:
        raise OSError(
            f"There are no weights of Inception. {error} Or pass InceptionFeatures(weights=path)."
        ) from error


def _check_weights(weights: str | Path) -> str:
    """Return the path of a weights file if it can be loaded without running code."""
    path = Path(weights).expanduser()
    if not path.is_file():
        raise FileNotFoundError(
            f"There is no file of weights at {path}. Pass the path of an existing one."
        )
    try:
        # The packages themselves load with weights_only=False.
        weights = torch.load(path, map_location="cpu", weights_only=True)
        if not isinstance(weights, dict) or not all(
            isinstance(name, str) and isinstance(value, Tensor) for name, value in weights.items()
        ):
            raise ValueError("it is no dictionary of tensors")
    except MemoryError:
        raise
    except Exception as error:  # a damaged file makes torch fail in many ways
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise OSError(
            f"{path} is not a file of weights, or holds more than tensors: {reason}"
        ) from error
    return str(path)
