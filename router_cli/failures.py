"""What a verb raises when its work failed; the message tells the user what to do next."""


class CommandError(Exception):
    """The work failed: exit code 1."""
