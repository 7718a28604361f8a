"""What becomes of a query log: its splits and rows, and what is said of them in the end."""
