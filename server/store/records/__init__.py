"""What happened to triggers: look-ups, lists, the change feed."""
