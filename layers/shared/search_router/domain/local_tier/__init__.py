"""The local tier: a small student that answers what the labelled queries explain, and nothing else.

terms → training → model, gate → artifact. Standard library only, pure and deterministic.
What serving loads has plain classes: `typing` alone would be a quarter of the time of its import.
"""
