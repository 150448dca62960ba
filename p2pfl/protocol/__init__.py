"""What a node knows, hears and wants: the pure state machine, staleness and liveness."""
