"""The stepper as a page: one HTML file with slider, buttons, keys and pictures."""

from npresnet.lens.steps.page.render import Widget, card, render

__all__ = ["Widget", "card", "render"]
