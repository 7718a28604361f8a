"""What becomes of uploaded prompts: read strictly, surveyed, made a training set and a holdout."""
