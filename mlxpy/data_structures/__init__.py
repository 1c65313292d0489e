"""The modules of MLXP's package of this name."""
