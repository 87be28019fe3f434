"""What several instruments share."""
