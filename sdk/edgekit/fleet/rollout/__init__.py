"""Rollouts: a release reaches a fleet in waves that stop themselves.

`plan` is what is wanted, `machine` what follows from what (no I/O, no clock), `noise`, `shift` and `evidence` are the
statistics of latency, `counts` and `drift` those of failures and answers, `gates` puts them together, and `driver` is
the part of `fleet serve` that reads the store, decides, writes, and only then publishes. docs/adr/0033-rollouts.md has
the reasons.
"""
