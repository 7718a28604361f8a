"""Pure rules: standard library and pydantic only; no clock, environment or I/O."""
