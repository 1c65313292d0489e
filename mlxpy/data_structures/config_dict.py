"""The names of MLXP's module of this name, which import what mlxpy has for them."""

from mlxpy._config_dict import ConfigDict, convert_dict

__all__ = ["ConfigDict", "convert_dict"]
