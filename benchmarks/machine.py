"""Description of the machine and of the versions in use."""

import os
import platform
import time

import sklearn
import torch

import skvim

__all__ = ["machine"]


def machine() -> dict[str, str | int]:
    """Return date, machine and versions, for the record of a benchmark."""
    return {
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "machine": platform.machine(),
        "processor": platform.processor() or "unknown",
        "cores": os.cpu_count() or 0,
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else "none",
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "sklearn": sklearn.__version__,
        "skvim": skvim.__version__,
    }
