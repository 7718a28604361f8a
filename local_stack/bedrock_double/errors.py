"""How an operation says no.

RefusalError            carries what the caller is told
├── BedrockError        an error that Bedrock's service model lists for the operation
└── NotPlayedError      something real Bedrock can do and this double cannot (HTTP 501)
"""


class RefusalError(Exception):
    """The request gets an error reply instead of an answer."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class BedrockError(RefusalError):
    """An error of the service model, e.g. `ValidationException`; its HTTP code comes from there."""


class NotPlayedError(RefusalError):
    """The double has no answer where Bedrock would have one."""

    def __init__(self, what: str) -> None:
        super().__init__("NotPlayedException", f"The Bedrock double does not play {what}.")
