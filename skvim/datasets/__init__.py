"""Image data sets, downloaded once and memory-mapped, and synthetic data sets."""

from skvim.datasets._celeba import fetch_celeba
from skvim.datasets._cifar10 import fetch_cifar10
from skvim.datasets._generators import make_g50c, make_g241c, make_g241d
from skvim.datasets._home import get_data_home
from skvim.datasets._mnist import fetch_mnist
from skvim.datasets._omniglot import fetch_omniglot

__all__ = [
    "fetch_celeba",
    "fetch_cifar10",
    "fetch_mnist",
    "fetch_omniglot",
    "get_data_home",
    "make_g50c",
    "make_g241c",
    "make_g241d",
]
