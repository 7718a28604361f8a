"""HTML by construction: whatever is not `Markup` already is escaped on its way in."""

from html import escape

from router_cli.console import printable

_CONTENT_SECURITY_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
_VOID = frozenset({"col", "meta"})


class Markup(str):
    """Text that is HTML; only this module and drawings of our own make it."""

    __slots__ = ()


def tag(name: str, /, *children: object, **attributes: object) -> Markup:
    """Return an element; a trailing `_` of an attribute's name is dropped, other `_` become `-`.

    Children that are no Markup become escaped text without control characters.
    """
    given = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(printable(value))}"'
        for key, value in attributes.items()
    )
    if name in _VOID:
        return Markup(f"<{name}{given}>")
    return Markup(f"<{name}{given}>{text(*children)}</{name}>")


def text(*children: object) -> Markup:
    """Join children, escaping what is no Markup."""
    return Markup(
        "".join(
            child if isinstance(child, Markup) else escape(printable(child)) for child in children
        )
    )


def document(title: str, style: str, *children: object) -> str:
    """Return a whole page that may load nothing and run nothing."""
    policy = tag("meta", http_equiv="Content-Security-Policy", content=_CONTENT_SECURITY_POLICY)
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        policy,
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("title", title),
        Markup(f"<style>{style}</style>"),
    )
    return f"<!doctype html>{tag('html', head, tag('body', *children), lang='en')}\n"
