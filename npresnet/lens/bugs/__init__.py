"""Bugs to inject: what others got wrong, to be watched while it does its harm.

``with inject("col2im_overwrites"): ...`` puts one wrong function in the place of a
right one, and puts the right one back. The wrong versions stand in the files of
this package, one file a room, and are made to be read.
"""

from npresnet.lens.bugs.patching import inject
from npresnet.lens.bugs.registry import Bug, describe, names

__all__ = ["Bug", "describe", "inject", "names"]
