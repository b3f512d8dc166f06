"""The folder in which data sets are stored."""

import os
from pathlib import Path
from typing import TypeAlias

__all__ = ["DataHome", "get_data_home"]

DataHome: TypeAlias = str | os.PathLike[str] | None


def get_data_home(data_home: DataHome = None) -> str:
    """Return the folder in which data sets are stored.

    The first of these that is set: ``data_home``, the environment variable ``SKVIM_DATA``, or
    ``skvim_data`` in the user's home. It is created when something is stored in it.

    Parameters
    ----------
    data_home : str, path-like or None, default=None
        A folder; ``~`` stands for the user's home.

    Returns
    -------
    str
        The absolute path.

    Examples
    --------
    >>> import os
    >>> from skvim.datasets import get_data_home
    >>> get_data_home("~/pictures") == os.path.expanduser("~/pictures")
    True
    """
    given = data_home or os.environ.get("SKVIM_DATA") or "~/skvim_data"
    return str(Path(given).expanduser().absolute())
