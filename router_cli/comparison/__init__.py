"""Two models over one log: who they are, what they answered, how the answers differ."""
