"""How a query gets its weights: champion, cascade, and the rate at which a model is asked."""
