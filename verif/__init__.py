"""Benches and tests: what proves that the hardware does what the golden model says."""

import os

# There are as many tests at once as processors: the threads of BLAS would wait for each other.
for _name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
