"""What every process has: tasks, readiness, metrics, logs."""
