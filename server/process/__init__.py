"""What processes have in common: tasks, readiness, health checks, metrics, logs."""
