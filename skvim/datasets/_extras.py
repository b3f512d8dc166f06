"""What the extra ``data`` installs, imported on use."""

from collections.abc import Iterator
from contextlib import contextmanager

from skvim.exceptions import MissingExtraError

__all__ = ["needs"]


@contextmanager
def needs(package: str, purpose: str) -> Iterator[None]:
    """Turn a failed import into the error that says how to install the package."""
    try:
        yield
    except ImportError as error:
        raise MissingExtraError(
            f'{purpose} needs {package}, which cannot be imported. Run pip install "skvim[data]".'
        ) from error
