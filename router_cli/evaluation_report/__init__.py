"""The report of a run: its facts, figures of them, and a page with both."""
