"""What to add to a command that sets options of a callback, launcher or sweeper that nothing chooses."""

from functools import partial

from hydra.core.object_type import ObjectType
from hydra.plugins.config_source import ConfigSource
from omegaconf.errors import OmegaConfBaseException

from ._hydra import BASIC_NODES, replace_tracebacks


def explain_unchosen_options(source: ConfigSource) -> None:
    """Has Hydra say that in the place of its own sentence, on keys that are not in a struct.

    Args:
        source: the callbacks, launchers and sweepers that can be chosen.
    """
    replace_tracebacks(partial(_what_to_add, source))


def _what_to_add(source: ConfigSource, error: BaseException) -> str | None:
    refused = error.__cause__
    if not (isinstance(refused, OmegaConfBaseException) and refused.full_key):
        return None
    node, _, name = refused.full_key.rpartition(".")
    group = node.replace(".", "/")
    if group == "hydra/callbacks" and source.is_config(f"{group}/{name}"):
        chosen = [key for key in refused.parent_node or () if source.is_config(f"{group}/{key}")]
        choice = f"[{','.join([*chosen, name])}]" if chosen else name
        return f"{refused.full_key}.* are options of a callback that is not chosen: add {group}={choice}"
    if getattr(refused.object_type, "__name__", None) not in BASIC_NODES:
        return None
    choices = source.list(group, ObjectType.CONFIG)
    having = [one for one in choices if name in list(source.load_config(f"{group}/{one}").config)]
    if not having:
        return None
    what = f"{refused.full_key} is no option of Hydra's own {group.rpartition('/')[2]}"
    return f"{what}: add {group}={' or '.join(having)}, or another that has it"
