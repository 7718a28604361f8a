"""Names and colours of a report, the same in drawings and tables.

The colours are those of Okabe and Ito (2008), which people with any colour blindness tell apart;
models differ by their marker too.
"""

from search_router.domain.lifecycle.evaluation import BASE, BASELINE, CANDIDATE, CHAMPION

NAMES = {
    CANDIDATE: "distilled (candidate)",
    CHAMPION: "champion before",
    BASE: "base student",
    BASELINE: "large baseline",
}
COLOURS = {
    CANDIDATE: "#0072B2",
    CHAMPION: "#009E73",
    BASE: "#D55E00",
    BASELINE: "#CC79A7",
}
LOCAL_COLOUR = "#E69F00"
MARKERS = {CANDIDATE: "o", CHAMPION: "s", BASE: "^", BASELINE: "D"}
_MODALITIES = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442")
_OTHER = "#999999"


def modality_colour(place: int) -> str:
    """Return the colour of the modality at a place; from the eighth on all are grey."""
    return _MODALITIES[place] if place < len(_MODALITIES) else _OTHER
