"""How one query gets its weights: champion, cascade, and the pace at which a model is asked."""
