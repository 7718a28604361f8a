"""HTML pages from the package's templates: self-contained, without scripts, all text escaped."""

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from router_cli.console import printable
from router_cli.labels import figure, label, labelled


def render(template: str, **values: object) -> str:
    """Return a page; text that is not `Markup` is escaped and loses its control characters."""
    return _environment().get_template(template).render(values)


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("router_cli"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=lambda value: value if isinstance(value, Markup) else printable(value),
    )
    environment.globals.update(figure=figure, label=label, labelled=labelled)
    return environment
