"""The names of MLXP's module of this name, which import what mlxpy has for them."""

from mlxpy_core import ConfigList, GroupedConfigList, RunRow

DataDict = RunRow
DataFrame = ConfigList
GroupedDataFrame = GroupedConfigList

__all__ = ["DataDict", "DataFrame", "GroupedDataFrame"]
