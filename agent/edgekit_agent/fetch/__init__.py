"""Fetching updates from a signed repository: a short-lived process, so that what it needs is gone when it has ended.

The supervisor imports `messages` and `launch` only, which are standard library; `python -m edgekit_agent.fetch` does
the work with python-tuf and urllib3 (`edgekit-agent[update]`).
"""
