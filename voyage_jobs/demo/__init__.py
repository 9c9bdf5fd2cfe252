"""The demonstration: real commands, a real `kill -9`, a simulated vendor, and claims that are checked."""
