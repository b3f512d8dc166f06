"""Fit LAMDA-SSL's TSVM, in an environment of its own, to the rows of a file.

Arguments: the file, and values of C. Prints a line of C, error on the unlabelled rows and seconds
after every fit.
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
    # The weight of unlabelled rows starts at this value and doubles up to that of labelled ones.
    model = TSVM(Cl=C, Cu=C / 1024, kernel="rbf", gamma=float(rows["gamma"]))
    model.fit(rows["labeled"], rows["labels"], rows["unlabeled"])
    error = float(np.mean(model.predict() != rows["truth"]))
    print(json.dumps([C, error, time.perf_counter() - start]), flush=True)
