"""How messages travel: MQTT, or within the process for tests and trials."""
