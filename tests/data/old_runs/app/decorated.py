"""A program by `mlxpy.launch`."""

from training import train

import mlxpy as expy


@expy.launch(config_path="configs")
def main(ctx: expy.Context) -> int:
    return train(ctx.config, ctx.logger)


if __name__ == "__main__":
    main()
