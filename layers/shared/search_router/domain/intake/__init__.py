"""Reads, surveys and splits uploaded prompt files into training set and holdout."""
