"""Uploads that are cut into splits: plans, messages, raw rows, and the ledger's records."""
