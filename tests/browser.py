"""A real browser, for pages that ought to work in one."""

import shutil
import subprocess

import numpy as np
import pytest
from PIL import Image

BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))),
    None,
)
needs_browser = pytest.mark.skipif(
    BROWSER is None, reason="no chromium here (apt-get install chromium)"
)
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)


class Browser:
    """A browser that knows nothing yet, each time it is opened."""

    def __init__(self, folder):
        self.folder, self.opened = folder, 0

    def open(self, url, *flags):
        """Open a page and return what the browser prints."""
        self.opened += 1
        profile = self.folder / f"profile-{self.opened}"
        command = [BROWSER, *FLAGS, f"--user-data-dir={profile}", *flags, url]
        result = subprocess.run(command, capture_output=True, timeout=280, check=True)
        return result.stdout.decode()

    def photograph(self, url, width, height, *flags):
        """Return a page as (H, W, 3) bytes."""
        picture = self.folder / f"page-{self.opened}.png"
        size = f"--window-size={width},{height}"
        self.open(url, size, f"--screenshot={picture}", *flags)
        return np.asarray(Image.open(picture).convert("RGB"))


def colours_of(pixels):
    """Count the different colours of (H, W, 3) bytes."""
    return len(np.unique(pixels @ np.array([1 << 16, 1 << 8, 1])))
