"""The commands of `steadfs-audit`, a module each: `arguments` declares its options, `run` does it and returns an exit code."""
