"""What a table means: checks, steps, the control plane's runtime."""
