"""Search: by vectors, by words, by both; filtered, fused, widened. It degrades, and does not fail."""
