"""Events that nobody could handle: who was to, what came of it, and to them once more.

Two writers share the queue. EventBridge puts the event, with RULE_ARN, TARGET_ARN, ERROR_CODE and
more as message attributes (docs.aws.amazon.com/eventbridge/latest/userguide/rule-dlq.html). Lambda
puts a record of an asynchronous run that failed, with the event as its requestPayload
(docs.aws.amazon.com/lambda/latest/dg/invocation-async-retain-records.html).
"""

import json
from dataclasses import dataclass
from typing import Any

from router_cli.dead_letters.queues import DeadLetter
from router_cli.stack import Stack

_ACCEPTED = 202  # Lambda: the event is queued
_MAX_MESSAGE = 200


@dataclass(frozen=True, slots=True)
class FailedEvent:
    """One event, whom it was for (a function's name or a topic's ARN), and why it is here."""

    letter: DeadLetter
    target: str
    event: dict[str, Any]
    why: str
    is_ours: bool

    @property
    def about(self) -> str:
        """What the event tells: its type, and the run, log, job or upload that it is about."""
        detail = self.event.get("detail")
        known = detail if isinstance(detail, dict) else {}
        thing = known.get("object")
        key = thing.get("key") if isinstance(thing, dict) else None
        names = (known.get("run_id"), known.get("log_id"), known.get("jobArn"), key)
        found = [str(name) for name in names if name]
        return " ".join([str(self.event.get("detail-type", "an event")), *found])

    def as_json(self) -> dict[str, object]:
        """Return what `--json` prints."""
        return {
            "about": self.about,
            "target": self.target,
            "first_sent": self.letter.sent.isoformat(),
            "why": self.why,
            "can_be_sent_again": self.is_ours,
        }


def explain_event(stack: Stack, letter: DeadLetter) -> FailedEvent:
    """Read one message of the event dead-letter queue, whoever wrote it."""
    body = _object(letter.body)
    context = body.get("requestContext")
    if isinstance(context, dict) and isinstance(body.get("requestPayload"), dict):
        target = _function_name(str(context.get("functionArn", "")))
        event, why = body["requestPayload"], _failed_run(target, context, body)
    elif "TARGET_ARN" in letter.attributes:
        arn = letter.attributes["TARGET_ARN"]
        target = _function_name(arn) if ":function:" in arn else arn
        event, why = body, _undelivered(target, letter.attributes)
    else:
        return FailedEvent(letter, "", body, "no record of EventBridge or Lambda", is_ours=False)
    ours = target in _our_targets(stack)
    return FailedEvent(letter, target, event, why if ours else f"{why}; not of this stack", ours)


def send_event_again(stack: Stack, failed: FailedEvent) -> bool:
    """Hand an event to whom it was for, and to nobody else; False if that is not for us to do.

    Putting it on the bus once more would reach every rule, and events of AWS cannot be put at all.
    """
    if not failed.is_ours:
        return False
    payload = json.dumps(failed.event, ensure_ascii=False)
    if failed.target == stack.outputs.get("NotificationTopicArn"):
        stack.client("sns").publish(TopicArn=failed.target, Message=payload)
        return True
    reply = stack.client("lambda").invoke(
        FunctionName=failed.target, InvocationType="Event", Payload=payload.encode("utf-8")
    )
    return bool(reply["StatusCode"] == _ACCEPTED)


def _failed_run(target: str, context: dict[str, Any], record: dict[str, Any]) -> str:
    reply = record.get("responsePayload")
    error = reply if isinstance(reply, dict) else {}
    said = _short(f"{error.get('errorType', 'no error')}: {error.get('errorMessage', '')}")
    times = context.get("approximateInvokeCount", "?")
    return f"{target} failed {times} times ({context.get('condition', '')}): {said}"


def _undelivered(target: str, attributes: Any) -> str:
    rule = attributes.get("RULE_ARN", "").rpartition("/")[2]
    said = _short(f"{attributes.get('ERROR_CODE', '')}: {attributes.get('ERROR_MESSAGE', '')}")
    times = attributes.get("RETRY_ATTEMPTS", "?")
    limit = attributes.get("EXHAUSTED_RETRY_CONDITION", "")
    return f"rule {rule} could not reach {target} in {times} retries ({limit}): {said}"


def _short(text: str) -> str:
    """Return the beginning of a message, on one line."""
    return " ".join(text.split())[:_MAX_MESSAGE]


def _our_targets(stack: Stack) -> set[str]:
    names = {value for name, value in stack.outputs.items() if name.endswith("FunctionName")}
    return names | {stack.outputs.get("NotificationTopicArn", "")} - {""}


def _function_name(arn: str) -> str:
    """Return the name in arn:aws:lambda:<region>:<account>:function:<name>[:<version>]."""
    return arn.partition(":function:")[2].partition(":")[0]


def _object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
