"""The process pool: the one place where CPU work runs."""

from app.cpu.pool import CpuPool
from app.cpu.settings import PoolSettings
from app.cpu.trips import Ended

__all__ = ["CpuPool", "Ended", "PoolSettings"]
