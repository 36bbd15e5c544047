"""Defines the commands, one group per module. The work itself is done by other packages."""
