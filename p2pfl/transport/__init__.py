"""Frames between nodes: memory, MQTT, and the embedded broker."""
