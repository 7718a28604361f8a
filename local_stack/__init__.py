"""Runs template.yaml on one machine, without Docker, account or credentials."""
