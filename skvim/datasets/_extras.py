"""Error for missing packages of the optional extra ``data``."""

from collections.abc import Iterator
from contextlib import contextmanager

from skvim.exceptions import MissingExtraError

__all__ = ["require_extra"]


@contextmanager
def require_extra(package: str, purpose: str) -> Iterator[None]:
    """Turn a failed import into a ``MissingExtraError`` that says how to install the package."""
    try:
        yield
    except ImportError as error:
        raise MissingExtraError(
            f'{purpose} needs {package}, which cannot be imported. Run pip install "skvim[data]".'
        ) from error
