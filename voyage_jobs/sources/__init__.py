"""Source folders: names, rules, walking, reading, splitting."""
