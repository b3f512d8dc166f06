"""Fit LAMDA-SSL's TSVM to the rows of a file; runs in a separate environment.

Arguments: the file, and values of C. After every fit it prints a line of JSON with C, the error on
the unlabelled rows and the seconds.
"""

import json
import sys
import time
import warnings

import numpy as np
from LAMDA_SSL.Algorithm.Classification.TSVM import TSVM

warnings.simplefilter("ignore")
rows = np.load(sys.argv[1])
for C in map(float, sys.argv[2:]):
    start = time.perf_counter()
    # Initial weight of unlabelled rows, which TSVM doubles up to that of labelled rows.
    model = TSVM(Cl=C, Cu=C / 1024, kernel="rbf", gamma=float(rows["gamma"]))
    model.fit(rows["labeled"], rows["labels"], rows["unlabeled"])
    error = float(np.mean(model.predict() != rows["truth"]))
    print(json.dumps([C, error, time.perf_counter() - start]), flush=True)
