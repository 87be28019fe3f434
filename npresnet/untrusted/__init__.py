"""What others wrote: their files opened, their pickles and JSON read, their text shown.

Weights, data sets and run folders come from anywhere. Whatever reads them goes
through this room, so that the same bounds hold everywhere and stand in one place:

``files``
    Opens a file, and nothing else: no pipe, device, socket or folder. Says what a
    file is that is none of ours.
``pickles``
    Runs a pickle without running anything: plain values, arrays, and placeholders
    for all the rest.
``json_text``
    Reads JSON whose size and nesting are bounded.
``text``
    Shows a text on a terminal or in a message: escaped, on one line, and cut.
"""
