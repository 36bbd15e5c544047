"""The command line's commands, one group a file; each is thin and calls the rest."""
