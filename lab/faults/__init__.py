"""Kills Clarion's processes under load and counts what became of each trigger; `make faults` runs it."""
