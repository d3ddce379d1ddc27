"""Updates of models: announced over MQTT, fetched, verified, tried beside the model that serves, kept or rolled back.

`records` is what the disk holds, `rules` what follows from what (no I/O, no clock), `store` the durable writes,
`updater` goes through an update with them, and `hands` does what it asks for. docs/adr/0027-updates.md has the reasons.
"""
