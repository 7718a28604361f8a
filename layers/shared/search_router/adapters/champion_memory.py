"""The champion as it was last read: what the API serves while the pointer cannot be read."""

from search_router.domain.errors import OperatorError, TransientError
from search_router.domain.serving.champions import Champion
from search_router.ports import ChampionRepository


class ChampionMemory:
    """Reads the pointer every time and remembers what it said."""

    def __init__(self, champions: ChampionRepository) -> None:
        self._champions = champions
        self._last: Champion | None = None

    def current(self) -> Champion | None:
        """Return the champion; raises only if it cannot be read and never was."""
        try:
            self._last = self._champions.current()
        except (TransientError, OperatorError):
            if self._last is None:
                raise
        return self._last
