"""Search: segments, filters, fusion, and the requests of GET /search."""
