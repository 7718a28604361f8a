"""The checks of `search-router doctor`."""
