"""The commands of ``mlxpy``, a module each."""
