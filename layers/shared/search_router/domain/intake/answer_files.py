"""Files of a dataset that hold a distilled model's answers: for the local tier, and nobody else.

They are told by their name. They are no labels: nothing of them gets into the training set, the
holdout or any figure about labels.
"""

from collections.abc import Sequence

from search_router.domain.errors import InvalidInputError
from search_router.domain.intake.prompt_files import PromptFile, read_lines
from search_router.domain.intake.prompts import PromptRecord
from search_router.domain.uploads import ANSWERS_SUFFIXES
from search_router.domain.weights import Modalities, Weights

MAX_ANSWERS = 15_000  # as many as a job has labels at most: the artifact stays below 3 MB


def holds_answers(name: str) -> bool:
    """Tell an answers file from a prompt file."""
    return name.endswith(ANSWERS_SUFFIXES)


def read_answers(files: Sequence[PromptFile], modalities: Modalities) -> list[tuple[str, Weights]]:
    """Read queries with their answers; raises InvalidInputError, naming the place, for all else.

    A machine wrote these files: a line that is not as it should be is no slip of a pen.
    """
    answers: list[tuple[str, Weights]] = []
    for file in files:
        for line in read_lines(file, modalities):
            where = f"{file.name}, line {line.line_number}"
            if not isinstance(line, PromptRecord):
                raise InvalidInputError(f"{where}: {line.reason.value}: {line.detail}")
            if line.weights is None:
                raise InvalidInputError(f"{where}: no answer")
            if len(answers) == MAX_ANSWERS:
                raise InvalidInputError(f"{where}: more than {MAX_ANSWERS} answers")
            answers.append((line.query, line.weights))
    return answers
