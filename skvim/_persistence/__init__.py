"""Files of models: weights and JSON without code, written whole or not at all.

Only the mixin is imported here; ``_files`` knows torch.
"""

from skvim._persistence._savable import Savable

__all__ = ["Savable"]
