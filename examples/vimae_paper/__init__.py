"""The experiments of *The Variational InfoMax AutoEncoder* (V. Crescimanna and B. Graham).

Tables I to V and figures 1 to 4 of the paper on real data, some tables and figures of our own, and
a verdict on each claim of the paper::

    python examples/reproduce_paper.py --table 4 --preset cpu --data-home DIR
    python examples/reproduce_paper.py --all --preset tiny       (two minutes, on stand-ins)
    python examples/reproduce_paper.py --pages                   (docs/_tables, from results)

A *cell* is a data set, a model and a seed. Its model is trained once and everything that tables
and figures need is measured of it: the *parts* of the cell (``robustness``, ``likelihood``, …).
Each cell is one line of ``results/PRESET.jsonl``, with the settings it was made with: all
parameters of the model and of the measures, the data and the sizes. A cell is reused where its
settings equal those that a run would use now. So a run that was stopped goes on, and a default
that changes in skvim has its cells run again.

=================  ===============================================================
``command.py``     the command line: runs missing cells, writes tables and figures
``settings.py``    data sets, models, noises and presets: all that may be tuned
``data.py``        training rows, test rows and labels of a seed
``standins.py``    small images in place of the real data sets
``measures.py``    what is measured of a fitted model
``cells.py``       which cells a table needs, what is missing of them, running one
``results.py``     the file of results, and figures over seeds
``tables.py``      tables in Markdown and LaTeX
``figures.py``     figures as PNG
``comparisons.py`` comparisons with intervals over seeds, and the rule of verdicts
``claims.py``      the claims of the paper as comparisons
``published.csv``  the figures that the paper prints
``pages.py``       the tables of the documentation
=================  ===============================================================
"""
