"""One convolution, from seven loops to the limit: ``python -m benchmarks.ladder``."""
