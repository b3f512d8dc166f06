"""Capture of training steps: tracer, graph optimiser, optimizer updates, CUDA graphs."""
