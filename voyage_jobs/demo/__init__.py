"""The demonstration: real commands, a real `kill -9`, a simulated provider, and claims that are checked."""
