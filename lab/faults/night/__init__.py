"""The night drill: one of ten incidents happens to a running Clarion, and an operator must find out which."""
