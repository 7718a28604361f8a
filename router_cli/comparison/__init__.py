"""The answers of two models to the queries of one log, and how they differ."""
