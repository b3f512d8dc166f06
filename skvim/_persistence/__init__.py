"""Files of models: weights and JSON without code, written atomically."""

from skvim._persistence._savable import Savable

__all__ = ["Savable"]
