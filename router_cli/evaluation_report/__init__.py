"""The report of a run: facts from the stack, figures from the facts, a page of both."""
