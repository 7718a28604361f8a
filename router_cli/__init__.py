"""The `search-router` command: one module per verb, the same verbs on this machine and on AWS."""
