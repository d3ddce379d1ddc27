"""Techniques that train a graph's weights: what they share."""
