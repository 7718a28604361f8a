"""The end of a stack: what is ours and still there, and how it goes."""
