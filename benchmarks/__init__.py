"""What mlxpy costs, each time against a floor measured in the same run; see README.md."""
