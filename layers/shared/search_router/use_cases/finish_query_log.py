"""Finish a query log whose splits are all in the ledger."""

from collections.abc import Sequence
from dataclasses import dataclass

from search_router.domain.events import QueryLogRouted, RouterEvent
from search_router.domain.logs.query_logs import QueryLog
from search_router.domain.logs.results import PartMarker, PartStats, total_stats
from search_router.domain.logs.summary import summarise
from search_router.ports import ChampionRepository
from search_router.use_cases.finish_upload import FinishUpload


@dataclass(frozen=True, slots=True)
class FinishQueryLog(FinishUpload[QueryLog, PartMarker, PartStats]):
    """Finishes query logs, one per call."""

    champions: ChampionRepository

    def _total(self, markers: Sequence[PartMarker]) -> PartStats:
        return total_stats(marker.stats for marker in markers)

    def _summary(self, head: QueryLog, total: PartStats) -> dict[str, object]:
        return summarise(head, self.champions.version(head.champion_version), total)

    def _finished(self, head: QueryLog) -> RouterEvent:
        return QueryLogRouted(log_id=head.log_id)
