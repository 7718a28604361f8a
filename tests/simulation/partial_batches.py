"""Batches of which a service takes a part: the reply names what is left, and is no error."""

import json
import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from tests.simulation.virtual_aws.wire import Document, Reply, Request


def taken_in_part(
    request: Request, chance: random.Random, perform: Callable[[Request], Reply]
) -> Reply:
    """Let the service take only what chance picks; of PutEvents, nothing."""
    document = request.json

    def take(part: Document) -> Document:
        reply = perform(replace(request, body=json.dumps(part).encode()))
        taken: Document = json.loads(reply.body)
        return taken

    match request.operation:
        case "SendMessageBatch":
            some, left = _divided(document["Entries"], chance)
            failed = [{"Id": e["Id"], "Code": "InternalError", "SenderFault": False} for e in left]
            return Reply.of({**take({**document, "Entries": some}), "Failed": failed})
        case "PutEvents":
            entries = [{"ErrorCode": "InternalFailure"} for _ in document["Entries"]]
            return Reply.of({"FailedEntryCount": len(entries), "Entries": entries})
        case "BatchGetItem":
            ((table, wanted),) = document["RequestItems"].items()
            some, left = _divided(wanted["Keys"], chance)
            found = take({"RequestItems": {table: {"Keys": some}}})
            return Reply.of({**found, "UnprocessedKeys": _rest(table, left and {"Keys": left})})
        case "BatchWriteItem":
            ((table, writes),) = document["RequestItems"].items()
            some, left = _divided(writes, chance)
            take({"RequestItems": {table: some}})
            return Reply.of({"UnprocessedItems": _rest(table, left)})
    raise AssertionError(f"{request} is no batch")


def _divided(things: list[Any], chance: random.Random) -> tuple[list[Any], list[Any]]:
    taken = [chance.random() < 0.5 for _ in things]
    return (
        [thing for thing, is_taken in zip(things, taken, strict=True) if is_taken],
        [thing for thing, is_taken in zip(things, taken, strict=True) if not is_taken],
    )


def _rest(table: str, left: Any) -> Document:
    return {table: left} if left else {}
