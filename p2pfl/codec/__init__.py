"""Messages to bytes and back: frames with limits, tensors, parts."""
