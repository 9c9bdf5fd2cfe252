"""The table for language models: four read-only tools of the Model Context Protocol, by a pipe or HTTP on loopback."""
