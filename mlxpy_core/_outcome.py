"""Where outcomes that were pickled before version 0.2 look for their class; to be removed in 0.3."""

from ._runs._outcome import Outcome, RemoteError

__all__ = ["Outcome", "RemoteError"]
