"""Channels that can only be taken out of a graph together, found by what every operator does to its axes."""
