"""What leaves the fleet for other tools: Prometheus, OTLP, CSV and Parquet, Grafana, Home Assistant, Sparkplug B.

Each is a file of its own that reads the store; nothing else of the service is needed.
"""
