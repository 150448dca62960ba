"""Driver 1, real time: one asyncio process per node over a transport."""
