"""Put on record the defaults of what the experiments are made of, for ``keys.py``.

Results say of their settings what differs from the defaults. So that results of old defaults are
not taken for results of new ones, the old are kept in ``defaults.json``. What is there stays as it
is; after the experiments have come to use another class, or a class has a new parameter, run::

    python examples/paper/defaults.py
"""

import inspect
import json
from collections.abc import Callable, Iterator, Mapping
from itertools import chain, product
from typing import Any

from keys import DEFAULTS, defaults_of, is_ours, recorded
from measures import MADE_BY, settings_of
from plan import FIGURES, TABLES, needs_of_figure, needs_of_table
from settings import PRESETS, build

__all__ = ["complete", "makers"]


def makers() -> dict[str, Callable[..., Any]]:
    """Return skvim's classes and functions whose defaults matter, by name."""
    found = {maker for several in MADE_BY.values() for maker in several}
    needs = chain(*map(needs_of_table, TABLES), *map(needs_of_figure, FIGURES))
    for (data_set, model, parts, _), preset in product(needs, PRESETS):
        settings = [settings_of(part, data_set, preset) for part in parts]
        found |= set(_classes([build(data_set, model, preset, 0), *settings]))
    return {maker.__name__: maker for maker in found if is_ours(maker)}


def complete() -> dict[str, dict[str, Any]]:
    """Return the record with what it lacks."""
    found = dict(recorded())
    for name, maker in makers().items():
        found[name] = defaults_of(maker) | found.get(name, {})
    return dict(sorted(found.items()))


def _classes(value: Any) -> Iterator[type]:
    """Yield the classes of an object and of what it is made of."""
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        for item in value:
            yield from _classes(item)
    elif hasattr(value, "get_params") or is_ours(type(value)):
        yield type(value)
        names = inspect.signature(type(value)).parameters
        yield from _classes([getattr(value, name) for name in names if hasattr(value, name)])


if __name__ == "__main__":
    text = json.dumps(complete(), indent=1, ensure_ascii=False)
    DEFAULTS.write_text(text + "\n", encoding="utf-8")
