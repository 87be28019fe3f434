"""Measurements, each one command.

``compare`` holds npresnet against PyTorch, ``ladder`` one convolution against the limit
of the machine, ``threads`` our thread pool against those of Numba.
"""
