"""The queues: claim, lease, release, record."""
