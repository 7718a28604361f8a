"""The student before distillation: cruder weights, and a looser hold on the form asked for."""

from local_stack.bedrock_double.chance import draw
from local_stack.bedrock_double.keyword_rules import weigh
from local_stack.bedrock_double.settings import DoubleSettings
from local_stack.bedrock_double.speech import Utterance, dominant, modalities_of, weights_text

_TRUST_IN_CUES = 0.2
# Cumulative shares of queries answered in prose, with broken-off JSON, and with fenced JSON.
_PROSE_BELOW = 0.08
_INCOMPLETE_BELOW = 0.14
_FENCED_BELOW = 0.40


class BaseStudent:
    """Answers Converse as an undistilled small model does; always the same way for one query."""

    def reply(self, system: str, query: str, settings: DoubleSettings) -> Utterance:
        """Answer with bare JSON in six of ten cases."""
        weights = weigh(query, modalities_of(system), _TRUST_IN_CUES)
        text = weights_text(weights, with_reasoning="reasoning" in system)
        form = draw(settings.seed, "base form", query)
        if form < _PROSE_BELOW:
            text = (
                f"For this search I would rely mainly on {dominant(weights)} features, "
                "supported by the others where they add context."
            )
        elif form < _INCOMPLETE_BELOW:
            text = text[: len(text) * 2 // 5]
        elif form < _FENCED_BELOW:
            text = f"Here are the weights for the query:\n\n```json\n{text}\n```"
        return Utterance(text)
