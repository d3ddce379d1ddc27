"""Layers as chains of smaller ones: which there are, in which forms, of which ranks, and back into the graph."""
