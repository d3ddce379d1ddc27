"""Alerts: rules on what the store knows, told by web hook, MQTT and e-mail; see docs/guide/alerts.md.

`rules` and `machine` know no I/O; `watching` reads the store; `notifiers` tell; `part` runs it all in the service.
"""
