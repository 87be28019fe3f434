"""Networks that several tests look at and none changes, built once."""

import functools

import npresnet as nr


def undrawn(name, **options):
    """Return a network of the registry whose weights are zeros: for its shapes."""
    with nr.nn.init.skipped():
        return nr.models.create(name, **options)


@functools.cache
def built(name, **options):
    """Return a network of the registry, new and in training mode."""
    return nr.models.create(name, **options)
