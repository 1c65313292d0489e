#!/bin/bash

#SBATCH --time=5

export EPOCHS=2
python main.py optimizer.lr=0.5,0.25 seed=1,2 epochs=$EPOCHS \
    +mlxp.use_version_manager=False
echo done
