"""Nodes on other machines, started over SSH."""
