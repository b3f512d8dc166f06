"""The experiments of *The Variational InfoMax AutoEncoder* (V. Crescimanna and B. Graham).

Tables I to V and figures 1 to 4 of the paper on real data, some tables and figures of our own, and
a verdict on each claim of the paper::

    python examples/reproduce_paper.py --table 4 --preset cpu --data-home DIR
    python examples/reproduce_paper.py --all --preset tiny       (two minutes, on stand-ins)
    python examples/reproduce_paper.py --pages                   (docs/_tables, from results)

A *cell* is a data set, a model and a seed. Its model is trained once and all that tables and
figures need is measured of it: its *parts*. It is one line of ``results/PRESET.jsonl``, with the
settings it was made with: all parameters of model and measures, data and sizes. It is reused where
they equal those of the present run. So a run that was stopped goes on, and a default that changes
in skvim has its cells run again. ``command.py`` is the command line, ``settings.py`` (with
``settings.toml`` and ``models.toml``) says what is run, ``data.py`` on which rows, ``measures.py``
what is measured, ``cells.py`` which cells that takes and how one is run, ``results.py`` keeps the
file, ``claims.py`` (with ``claims.toml``) judges, ``tables.py`` (with ``texts.toml`` and the
paper's numbers, ``published.csv``) and ``figures.py`` write and draw.
"""
