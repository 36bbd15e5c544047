"""The portal: pages for operators. It is a client of the admin API and of nothing else."""

from .settings import PortalSettings

__all__ = ["PortalSettings"]
