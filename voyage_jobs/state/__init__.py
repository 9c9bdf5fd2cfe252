"""The state database: engine, tables, and every SQL statement by noun."""
