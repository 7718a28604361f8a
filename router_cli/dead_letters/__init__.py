"""What lies in the two dead-letter queues: read, explained, sent again."""
