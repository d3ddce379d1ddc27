"""Attention found in graphs as exporters write it, and made smaller or narrower."""
