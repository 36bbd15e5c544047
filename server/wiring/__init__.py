"""The composition root: builds processes from settings."""
