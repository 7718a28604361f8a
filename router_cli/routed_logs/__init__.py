"""Reading a routed query log: its parts, its distinct queries, its progress, its table forms."""
