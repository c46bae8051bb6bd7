"""Networks and how they are trained: layers, recipes, optimisers, data, trainer."""
