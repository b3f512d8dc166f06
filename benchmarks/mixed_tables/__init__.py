"""Benchmark of features, filling, drawing and odd rows on tables with mixed columns.

Run it on an idle machine, with ``make bench-tables TABLES=DIR``; it takes hours, and goes on where
it was stopped.
"""
