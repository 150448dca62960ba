"""p2pfl: learning without a server."""
