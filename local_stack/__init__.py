"""The whole template.yaml on one machine, without docker, account or credentials."""
