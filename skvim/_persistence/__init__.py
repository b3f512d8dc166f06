"""Files of models: weights and JSON without code, written whole or not at all."""

from skvim._persistence._files import Savable, open_estimator, save

__all__ = ["Savable", "open_estimator", "save"]
