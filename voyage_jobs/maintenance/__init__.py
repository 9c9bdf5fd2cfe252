"""Care of what is kept: compare and repair, examine, save, restore, hand out."""
