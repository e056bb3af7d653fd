"""Structures on the wire, and how executors run a plan."""
