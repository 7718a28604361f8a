"""The local tier's student: nearest labelled queries, with a gate that abstains on unlike ones.

Standard library only, pure and deterministic. `artifact`, `local_model`, `neighbours` and `terms`
are imported by serving; their classes are plain, because importing `dataclasses` or `typing` would
add a quarter to the import time.
"""
