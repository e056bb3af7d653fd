"""One room of the product at a time, without a daemon; the folders are named as its rooms are."""
