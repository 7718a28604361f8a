"""Query logs: dialects, splits, rows, results and the summary."""
