"""The FUSE session: what INIT negotiated, its beginning and end, and how transitions are written down."""
