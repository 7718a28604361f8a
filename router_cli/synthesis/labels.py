"""From the weights of a template to the label of a teacher.

Weights are whole tenths that sum to ten, so that every label is exactly on the 0.1 grid.
"""

from collections.abc import Mapping

from router_cli.synthesis.catalogue import TENTHS
from router_cli.synthesis.draws import Draw
from search_router.domain.intake.labels import render_label
from search_router.domain.weights import Modalities

Tenths = tuple[int, ...]

BALANCED = "balanced"

# In public teacher labels 72% of the pairs of labels of one query are equal, and the others differ
# by one step. Changing 15% of the labels gives 0.85 squared = 72%.
NOISE_SHARE = 0.15

_EVIDENCE = {
    "visual": "what is on screen",
    "audio": "sounds and music",
    "transcription": "the spoken words",
    "metadata": "names, titles or dates on file",
}
_OPENINGS = ("Depends mostly on {}", "The strongest cue is {}", "Asks first of all for {}")


def configured_tenths(profile: Mapping[str, int], modalities: Modalities) -> Tenths | None:
    """Restrict a profile to the configured modalities and scale it to ten tenths.

    Remaining tenths go to the largest remainders, earlier modalities first. Returns None if the
    modalities have less than half of the profile: the query would not be about them.
    """
    kept = [profile.get(name, 0) for name in modalities]
    total = sum(kept)
    if 2 * total < TENTHS:
        return None
    tenths = [weight * TENTHS // total for weight in kept]
    by_remainder = sorted(range(len(kept)), key=lambda i: (-(kept[i] * TENTHS % total), i))
    for i in by_remainder[: TENTHS - sum(tenths)]:
        tenths[i] += 1
    return tuple(tenths)


def stressed(tenths: Tenths, modalities: Modalities) -> str:
    """Return the modality with the largest weight, or "balanced" if several share it."""
    top = max(tenths)
    return modalities[tenths.index(top)] if tenths.count(top) == 1 else BALANCED


def teacher_tenths(tenths: Tenths, draw: Draw) -> Tenths:
    """Return the label with the noise of a teacher, which moves 0.1 to another modality."""
    if not draw.chance(NOISE_SHARE):
        return tenths
    givers = [i for i, weight in enumerate(tenths) if weight > 0]
    giver = draw.pick(givers)
    taker = draw.pick([i for i in range(len(tenths)) if i != giver])
    moved = list(tenths)
    moved[giver] -= 1
    moved[taker] += 1
    return tuple(moved)


def label_text(tenths: Tenths, modalities: Modalities, reasoning: str | None = None) -> str:
    """Return a label as the JSON text of the assistant's turn."""
    return render_label(modalities, tuple(weight / TENTHS for weight in tenths), reasoning)


def reasoning_text(tenths: Tenths, modalities: Modalities, draw: Draw) -> str:
    """Return one or two sentences that explain a label, as the `reasoning` of a teacher."""
    order = sorted(range(len(tenths)), key=lambda i: -tenths[i])
    first, second, *others = [_evidence(modalities[i]) for i in order]
    text = draw.pick(_OPENINGS).format(first)
    text += f", followed by {second}." if tenths[order[1]] else "."
    unused = [name for name, i in zip(others, order[2:], strict=True) if not tenths[i]]
    return f"{text} Little use for {' or '.join(unused)}." if unused else text


def _evidence(modality: str) -> str:
    return _EVIDENCE.get(modality, f"the {modality.replace('_', ' ')}")
