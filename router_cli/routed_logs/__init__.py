"""What the verbs share that read a routed log: its parts, its distinct queries, its progress."""
