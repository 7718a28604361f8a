"""The life of a model: distilled, deployed, evaluated, promoted, or given up in time."""
