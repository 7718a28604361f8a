"""Client request tokens: a replay of the same request gets the same answer and has no effect."""

from local_stack.bedrock_double.contract import Params
from local_stack.bedrock_double.errors import BedrockError

_TOKEN = "clientRequestToken"  # noqa: S105 - the parameter's name


class TokenLedger:
    """Remembers the answers given under each token; its owner's lock guards it."""

    def __init__(self, mismatch_code: str) -> None:
        self._mismatch_code = mismatch_code
        self._answers: dict[str, tuple[Params, Params]] = {}

    def get_many(self, params: Params) -> Params | None:
        """Return the answer of an earlier request with this token, or None.

        Raises `BedrockError` when that request had other parameters.
        """
        remembered = self._answers.get(params.get(_TOKEN, ""))
        if remembered is None:
            return None
        request, answer = remembered
        if request != params:
            raise BedrockError(
                self._mismatch_code,
                "The client request token was already used with different parameters.",
            )
        return answer

    def put_many(self, params: Params, answer: Params) -> Params:
        """Keep the answer for replays and return it."""
        if _TOKEN in params:
            self._answers[params[_TOKEN]] = (params, answer)
        return answer
