"""One split of a query log: route its rows, write its part once, enter it in the ledger once."""

from collections.abc import Iterator

from search_router.domain import naming
from search_router.domain.cascade import Model, Routing, distinct_queries, route
from search_router.domain.champions import Champion
from search_router.domain.errors import ConflictError, NotFoundError, UnavailableError
from search_router.domain.events import QueryLogPartsComplete
from search_router.domain.log_dialects import MAX_ROW_BYTES
from search_router.domain.log_rows import (
    LogRow,
    RejectedRow,
    read_split,
    read_whole_rows,
    rejected_row,
)
from search_router.domain.query_logs import Layout, LogState, QueryLog, SplitMessage
from search_router.domain.results import (
    PartBuilder,
    PartMarker,
    PartStats,
    packed_stats,
    unpacked_stats,
)
from search_router.domain.routing import normalised_query
from search_router.ports import (
    AnswerCaches,
    ChampionRepository,
    Clock,
    EventPublisher,
    ObjectStore,
    QueryLogLedger,
    UploadStore,
)
from search_router.use_cases.outcomes import Ignored

_STATS = "stats"
_FIRST_POSTPONEMENT = 30
_MAX_POSTPONEMENT = 900


def route_queries(
    message: SplitMessage,
    *,
    uploads: UploadStore,
    objects: ObjectStore,
    champions: ChampionRepository,
    caches: AnswerCaches,
    model: Model,
    ledger: QueryLogLedger,
    events: EventPublisher,
    clock: Clock,
) -> PartStats | Ignored:
    """Route one split and return its statistics.

    Raises TransientError when not every query could be asked; what was learnt stays in the cache.
    """
    log = ledger.get(message.log_id)
    if log is None or log.state is LogState.FAILED:
        return Ignored("the log is unknown or has failed")
    marker = _stored_marker(message, objects)
    if marker is None:
        champion = champions.version(message.champion_version)
        if champion is None:
            raise NotFoundError(f"champion version {message.champion_version} is unknown")
        try:
            rows = list(_rows(message, uploads, objects))
        except NotFoundError as error:
            if not ledger.move(log.log_id, LogState.FAILED, clock.now(), str(error)):
                raise UnavailableError("the log was closed meanwhile") from None
            return Ignored("the uploaded log is gone")
        marker = _route(message, rows, champion, caches, model, objects)
    _enter(marker, ledger, events, clock)
    return marker.stats


def _rows(
    message: SplitMessage, uploads: UploadStore, objects: ObjectStore
) -> Iterator[LogRow | RejectedRow]:
    """Read the split's rows from wherever they are."""
    start, end, dialect = message.start, message.end, message.dialect
    if message.layout is Layout.COPY:
        copy = objects.get(naming.split_copy_key(message.log_id, start, end))
        return read_whole_rows([copy], start, dialect)
    if message.layout is Layout.ROWS:
        return read_whole_rows(uploads.read(message.source, start, end), start, dialect)
    # From the byte before it to the end of its last line.
    chunks = uploads.read(message.source, max(0, start - 1), end + MAX_ROW_BYTES + 1)
    return read_split(chunks, start, end, dialect)


def _route(
    message: SplitMessage,
    rows: list[LogRow | RejectedRow],
    champion: Champion,
    caches: AnswerCaches,
    model: Model,
    objects: ObjectStore,
) -> PartMarker:
    asker = f"{message.log_id}/{message.split}"
    cache = caches.of(champion.version, asker)
    queries = distinct_queries([row.query for row in rows if isinstance(row, LogRow)])
    routing = route(queries, champion.serving, model, cache, place=message.split)
    if routing.pending:
        raise routing.problem or UnavailableError("no time was left to ask every query")
    return _write(message, rows, routing, champion, objects)


def _write(
    message: SplitMessage,
    rows: list[LogRow | RejectedRow],
    routing: Routing,
    champion: Champion,
    objects: ObjectStore,
) -> PartMarker:
    part = PartBuilder(message.log_id, champion.serving.modalities)
    rejections = []
    for row in rows:
        if isinstance(row, RejectedRow):
            part.reject()
            rejections.append(rejected_row(row))
        else:
            key = normalised_query(row.query)
            part.add(row, key, routing.decisions[key])
    objects.put(naming.rejected_part_key(message.log_id, message.split), b"".join(rejections))
    marker = part.marker(message.split)
    if objects.put_once(
        naming.part_key(message.log_id, message.split), part.body(), _metadata(message, marker)
    ):
        return marker
    return _first_written(message, marker, objects)


def _first_written(message: SplitMessage, ours: PartMarker, objects: ObjectStore) -> PartMarker:
    """Take the part that another attempt wrote first: same rows, perhaps other answers."""
    theirs = _stored_marker(message, objects)
    if theirs is None or (theirs.identity, theirs.rows) != (ours.identity, ours.rows):
        raise ConflictError(f"split {message.split} of {message.log_id} holds other rows")
    return theirs


def _metadata(message: SplitMessage, marker: PartMarker) -> dict[str, str]:
    return {
        "log": message.log_id,
        "version": message.version_id or "",
        "range": f"{message.start}-{message.end}",
        "rows": str(marker.rows),
        "identity": marker.identity,
        _STATS: packed_stats(marker.stats),
    }


def _stored_marker(message: SplitMessage, objects: ObjectStore) -> PartMarker | None:
    try:
        metadata = objects.info(naming.part_key(message.log_id, message.split)).metadata
    except NotFoundError:
        return None
    return PartMarker(
        log_id=message.log_id,
        split=message.split,
        rows=int(metadata["rows"]),
        identity=metadata["identity"],
        stats=unpacked_stats(metadata[_STATS]),
    )


def _enter(
    marker: PartMarker, ledger: QueryLogLedger, events: EventPublisher, clock: Clock
) -> None:
    log: QueryLog = ledger.enter(marker, clock.now())
    if log.is_complete:
        events.publish(QueryLogPartsComplete(log_id=log.log_id))


def postponement(receive_count: int) -> int:
    """Return the seconds after which an unfinished split comes back: 30, 60, … at most 900."""
    return min(_MAX_POSTPONEMENT, _FIRST_POSTPONEMENT << min(receive_count - 1, 10))
