"""Pages of HTML from templates that lie inside the package."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import jinja2


def render(package: str, **values: Any) -> str:
    """Fill the ``template.html`` of a package, which may include other files there.

    Parameters
    ----------
    package : str
        Full name of the package that holds the template.
    **values
        What the template calls for; a name that is missing is an error. Text is
        escaped, unless it is `markup`.
    """
    return _template(package).render(**values)


@functools.cache  # compiled once in a process
def _template(package: str) -> jinja2.Template:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader(package, ""),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("template.html")


def markup(text: str) -> str:
    """Mark text as HTML of our own making, to be put into a page as it is."""
    from markupsafe import Markup

    return Markup(text)
