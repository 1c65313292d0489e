"""An app of Hydra's."""

from typing import Any

import hydra
from training import train

import mlxpy


@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def main(config: Any) -> int:
    return train(config, mlxpy.get_logger())


if __name__ == "__main__":
    main()
