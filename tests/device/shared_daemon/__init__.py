"""What a guest can do to a daemon that goes on: one daemon for each module, a guest for each test."""
