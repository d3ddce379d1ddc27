"""EdgeKit: from a trained model to measured latency on a fleet of edge devices."""
