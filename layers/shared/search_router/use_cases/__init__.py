"""What each function does, one module per function, in terms of ports."""
