"""The teacher, e.g. Nova Pro: decent weights, always in the form that was asked for."""

from collections.abc import Sequence

from local_stack.bedrock_double.keyword_rules import weigh
from local_stack.bedrock_double.settings import DoubleSettings
from local_stack.bedrock_double.speech import Utterance, modalities_of, weights_text

_TRUST_IN_CUES = 1.0


class Teacher:
    """Labels unlabelled training queries and answers Converse."""

    def label(self, query: str, modalities: Sequence[str]) -> dict[str, float]:
        """Return the teacher's weights of one query."""
        return weigh(query, modalities, _TRUST_IN_CUES)

    def reply(self, system: str, query: str, settings: DoubleSettings) -> Utterance:  # noqa: ARG002
        """Answer with JSON, with a reasoning if the prompt speaks of one."""
        weights = self.label(query, modalities_of(system))
        return Utterance(weights_text(weights, with_reasoning="reasoning" in system))
