"""One file per step: a bounded piece of work that leaves the stores consistent."""
