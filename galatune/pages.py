"""Templates of HTML pages: whatever is filled in stays text, and a name that is missing is an error."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import Template

__all__ = ["page_template"]


def page_template(package: str, name: str, **filters: Callable[..., Any]) -> Template:
    """Load a template.

    Args:
        package: In whose folder it lies.
        name: Of its file.
        **filters: What the template may call on values.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader(package, "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(filters)
    return environment.get_template(name)
