"""The supervisor of `clarion up`: starts processes in order, restarts those that die, and stops them all."""

from .child import Child
from .policy import RestartPolicy
from .supervisor import Supervisor

__all__ = ["Child", "RestartPolicy", "Supervisor"]
