"""Base class of context managers that intercept calls of torch's functions."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import Any, final

from torch.overrides import TorchFunctionMode

__all__ = ["FunctionMode"]


class FunctionMode(TorchFunctionMode, ABC):
    """Context manager through which all calls of torch's functions on the same thread pass."""

    @abstractmethod
    def call(self, func: Callable[..., Any], args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        """Return the result of ``func(*args, **options)``, or what stands in for it (hook)."""

    @final
    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Pass a call on (torch's hook)."""
        return self.call(func, args, kwargs or {})
