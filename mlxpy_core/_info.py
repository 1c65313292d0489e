"""Where jobs of submitit that were pickled before version 0.2 look for a class; to be removed in 0.3."""

from ._runs._launch import Launch

__all__ = ["Launch"]
