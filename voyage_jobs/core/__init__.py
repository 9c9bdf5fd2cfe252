"""What everything rests on: states, retry policies, clocks, crash points, durable files. Knows nothing of the rest."""
