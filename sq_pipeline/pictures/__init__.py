"""Pictures: the one door to rendering, PNG files and their provenance, sheets, the archive."""
