"""Kills Clarion's processes under load and checks every accepted trigger; `make faults` runs it."""
