"""What stands behind `clarion up`: starts the processes in order, keeps them alive, ends them all."""

from .child import Child
from .policy import RestartPolicy
from .supervisor import Supervisor

__all__ = ["Child", "RestartPolicy", "Supervisor"]
