"""The Hydra commands of mlxpy: callbacks, launchers and their options, for any Hydra app.

Hydra imports every module here whose name has no leading underscore at each start of each app, so
those import nothing but what Hydra itself has imported by then.
"""
