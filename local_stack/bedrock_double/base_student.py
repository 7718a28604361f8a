"""The student before distillation: cruder weights, and a looser hold on the form asked for."""

from local_stack.bedrock_double.chance import draw
from local_stack.bedrock_double.keyword_rules import weigh
from local_stack.bedrock_double.settings import DoubleSettings
from local_stack.bedrock_double.speech import Utterance, dominant, modalities_of, weights_text

_TRUST_IN_CUES = 0.2


class BaseStudent:
    """Answers Converse as an undistilled small model does; always the same way for one query."""

    def reply(self, system: str, query: str, settings: DoubleSettings) -> Utterance:
        """Answer with bare JSON, but for the settings' shares of prose, broken-off, fenced JSON."""
        weights = weigh(query, modalities_of(system), _TRUST_IN_CUES)
        text = weights_text(weights, with_reasoning="reasoning" in system)
        incomplete_from = settings.base_prose_rate
        fenced_from = incomplete_from + settings.base_incomplete_rate
        bare_from = fenced_from + settings.base_fenced_rate
        form = draw(settings.seed, "base form", query)
        if form < incomplete_from:
            text = (
                f"For this search I would rely mainly on {dominant(weights)} features, "
                "supported by the others where they add context."
            )
        elif form < fenced_from:
            text = text[: len(text) * 2 // 5]
        elif form < bare_from:
            text = f"Here are the weights for the query:\n\n```json\n{text}\n```"
        return Utterance(text)
