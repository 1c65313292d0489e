"""Whose files are."""

import os


def owner_name(user_id: int) -> str:
    """Returns how a user is named in messages: ``user alice``, or by number where there is no name."""
    import pwd  # for messages only

    try:
        return f"user {pwd.getpwuid(user_id).pw_name}"
    except KeyError:
        return f"user {user_id}"


def foreign_owner(*paths: str | os.PathLike[str]) -> int | None:
    """Returns the other user who owns one of some files or a link to it; None if there is none."""
    for path in paths:
        for look in (os.lstat, os.stat):
            try:
                owner = look(path).st_uid
            except OSError:
                continue
            if owner != os.getuid():
                return owner
    return None
