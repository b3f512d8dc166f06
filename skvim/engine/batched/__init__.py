"""Batched training: many compatible fits as one network."""

from skvim.engine.batched._plan import OTHER_ROWS, Plan

__all__ = ["OTHER_ROWS", "Plan"]
