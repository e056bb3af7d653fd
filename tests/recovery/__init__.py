"""A worker is killed again and again; whoever uses the device may not notice."""
