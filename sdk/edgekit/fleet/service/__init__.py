"""`edgekit fleet serve`: what runs beside the ingest processes, one asyncio loop."""
