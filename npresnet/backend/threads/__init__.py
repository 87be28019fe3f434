"""How many threads compute, and who computes what: decided here and nowhere else.

A kernel is a plain compiled loop over a range of iterations. `parallel_for` splits the
range into chunks, which the caller's thread and the workers of a thread pool take one
after the other. Which thread takes which chunk never changes a result: no two
iterations write to the same element.

- `setting`: how many threads are used;
- `processors`: how many this process may use;
- `pool`: the threads, and why the package has a pool of its own;
- `jobs`: how a kernel reaches them, in compiled code that is loaded when needed.
"""

from npresnet.backend.threads.pool import parallel_for
from npresnet.backend.threads.setting import (
    available_threads,
    get_threads,
    set_threads,
)

__all__ = ["available_threads", "get_threads", "parallel_for", "set_threads"]
