"""Limits that the system sets to this process for a while."""

import resource
from contextlib import contextmanager


@contextmanager
def limit(kind, value):
    before = resource.getrlimit(kind)
    resource.setrlimit(kind, (value, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(kind, before)


def file_limit(size):
    """Let the system break off a write in the middle."""
    return limit(resource.RLIMIT_FSIZE, size)


def memory_limit(more):
    """Let no more bytes be taken, by whomever: then ``MemoryError`` is raised."""
    with open("/proc/self/statm") as file:
        taken = int(file.read().split()[0]) * resource.getpagesize()
    return limit(resource.RLIMIT_AS, taken + more)
