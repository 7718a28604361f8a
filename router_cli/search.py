"""`search-router search QUERY --collection C`: one signed request to GET /search."""

import argparse
import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from http import HTTPStatus
from typing import Any

from router_cli import api
from router_cli.console import CommandError, print_json, print_table, say
from router_cli.stack import Stack, open_stack

_COLUMNS = ("", "score", "time", "video", "text")
_SHOWN_VIDEO = 24  # characters of a video id
_MARK = "*"  # on both sides of a word that the query contains
_HOUR, _MINUTE = 3_600, 60

Row = tuple[object, ...]


def run(arguments: argparse.Namespace) -> int:
    """Search a collection and print one page of hits."""
    stack = open_stack(arguments)
    try:
        reply = search(stack, _parameters(arguments))
    except api.RejectedError as error:
        if error.status == HTTPStatus.NOT_FOUND and error.field == "collection":
            raise CommandError(
                f"no such collection: {arguments.collection}. "
                "`search-router collections` lists all collections."
            ) from None
        raise
    if arguments.json:
        print_json(reply)
        return 0
    _print(reply, _offset(arguments.cursor) if arguments.cursor else 0)
    return 0


def search(stack: Stack, parameters: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """Return the reply of GET /search; raises RejectedError or CommandError."""
    if not stack.search_url:
        raise CommandError("the stack has no search API. Deploy the current template.")
    return api.get(stack, "search", f"{stack.search_url.rstrip('/')}/search", parameters)


def time_code(seconds: float) -> str:
    """Return a position in a video as `mm:ss`, or `h:mm:ss` from one hour on."""
    whole = int(seconds)
    hours, minutes = whole // _HOUR, whole % _HOUR // _MINUTE
    clock = f"{minutes:02d}:{whole % _MINUTE:02d}"
    return f"{hours}:{clock}" if hours else clock


def marked(snippet: Mapping[str, Any] | None) -> str:
    """Return a snippet with a mark around each word that the query contains."""
    if snippet is None:
        return ""
    text, pieces, done = snippet["text"], [], 0
    for start, end in snippet["matches"]:
        pieces += [text[done:start], _MARK, text[start:end], _MARK]
        done = end
    return "".join([*pieces, text[done:]])


def _parameters(arguments: argparse.Namespace) -> list[tuple[str, str]]:
    given = {
        "q": arguments.query,
        "collection": arguments.collection,
        "k": str(arguments.k),
        "cursor": arguments.cursor,
        "weights": arguments.weights,
        "route": "off" if arguments.no_route else None,
        "fusion": arguments.fusion,
        "group": "video" if arguments.group_video else None,
        "explain": "1" if arguments.explain else None,
    }
    filters = [("filter", text) for text in arguments.filter or ()]
    return [(name, value) for name, value in given.items() if value] + filters


def _offset(cursor: str) -> int:
    """Return where the page of a cursor begins; the API has accepted the cursor."""
    offset: int = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))[0]
    return offset


def _print(reply: Mapping[str, Any], offset: int) -> None:
    hits = reply["hits"]
    if hits:
        rows = [row for rank, hit in enumerate(hits, offset + 1) for row in _rows(rank, hit)]
        print_table(f"{len(hits)} of {reply['total']:,} hits", _COLUMNS, rows)
    else:
        say("Nothing was found.")
    print_table("", ["", ""], _facts(reply))
    if reply["cursor"]:
        say(f"More hits: repeat the search with --cursor {reply['cursor']}")


def _rows(rank: int, hit: Mapping[str, Any]) -> Iterator[Row]:
    video = hit["video_id"]
    shown = video if len(video) <= _SHOWN_VIDEO else f"{video[: _SHOWN_VIDEO - 1]}…"
    if others := len(hit.get("same_video", ())):
        shown += f" (+{others})"
    times = f"{time_code(hit['start'])}\u2013{time_code(hit['end'])}"
    yield rank, f"{hit['score']:.3f}", times, shown, marked(hit["snippet"])
    for part in hit.get("explain", ()):
        yield "", f"{part['contribution']:.3f}", "", part["modality"], _explained(part)


def _explained(part: Mapping[str, Any]) -> str:
    raw = [
        f"{name} {part[key]:.{digits}f}"
        for name, key, digits in (("cosine", "cosine", 3), ("BM25", "bm25", 2))
        if part[key] is not None
    ]
    factors = f"weight {part['weight']:.2f}, normalised {part['normalised']:.3f}"
    return ", ".join([factors, f"rank {part['rank']}", *raw])


def _facts(reply: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield "weights", ", ".join(f"{name} {weight:.2f}" for name, weight in reply["weights"].items())
    source = "base, because the router was late" if reply["late"] else reply["tier"]
    yield "weights from", f"{source}, ranking profile {reply['profile']}"
    if reply["degraded"]:
        yield "failed", f"{', '.join(reply['degraded'])}; the hits come from the rest"
    timings = reply["timings"]
    steps = ", ".join(
        f"{step} {timings[f'{step}_ms']:.0f}" for step in ("router", "embedding", "lists", "fusion")
    )
    yield "time", f"{timings['total_ms']:.0f} ms ({steps})"
