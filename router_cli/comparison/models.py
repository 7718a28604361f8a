"""Which model a name on the command line means, and how it is to be asked."""

import re
from dataclasses import dataclass

from router_cli.failures import CommandError
from router_cli.stack import Stack
from search_router.domain.naming import foundation_model_id
from search_router.domain.serving.champions import Champion, ServingModel
from search_router.domain.weights import Modalities

_VERSION = re.compile(r"v?(\d+)")


@dataclass(frozen=True, slots=True)
class ComparedModel:
    """A model under the name that the user knows it by."""

    name: str
    serving: ServingModel


def find_model(stack: Stack, name: str, like: Champion) -> ComparedModel:
    """Find a champion version (`3`, `v3`, `champion`), a run's model, or a foundation model.

    A foundation model, or a deployment's ARN, is asked with the prompt and prior of `like`.
    Raises CommandError for a model that cannot be asked or has other modalities.
    """
    serving = _serving(stack, name, like)
    _check_modalities(name, serving.modalities, like.serving.modalities)
    return ComparedModel(name, serving)


def _serving(stack: Stack, name: str, like: Champion) -> ServingModel:
    if name == "champion":
        return _found(name, stack.champions.current()).serving
    if version := _VERSION.fullmatch(name):
        return _found(name, stack.champions.version(int(version[1]))).serving
    if name.startswith("run-"):
        return _of_run(stack, name)
    model_id = name if name.startswith("arn:") else re.sub(r":\d+k$", "", name)
    priced_as = like.serving.priced_as if name.startswith("arn:") else foundation_model_id(name)
    return like.serving.model_copy(update={"model_id": model_id, "priced_as": priced_as})


def _found(name: str, champion: Champion | None) -> Champion:
    if champion is None:
        raise CommandError(f"there is no champion {name}; `search-router runs` lists versions")
    return champion


def _of_run(stack: Stack, name: str) -> ServingModel:
    run = stack.runs.get(name)
    if run is None:
        raise CommandError(f"there is no run {name}; `search-router runs` lists them")
    if run.deployment is None or run.deployment.deleted:
        raise CommandError(
            f"the model of {name} is not deployed ({run.state.value}): nothing can be asked of it"
        )
    return run.serving


def _check_modalities(name: str, theirs: Modalities, wanted: Modalities) -> None:
    if theirs != wanted:
        raise CommandError(
            f"{name} gives {', '.join(theirs)}; the log was routed with {', '.join(wanted)}: "
            "weights of other modalities cannot be compared"
        )
