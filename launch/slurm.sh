#!/bin/bash
# One training on several machines under Slurm. From the repository's folder, which all machines see:
#
#     sbatch --nodes=4 launch/slurm.sh base --recipe speedrun --run runs/speedrun
#
# Given again, or requeued by Slurm, it goes on from the last checkpoint.
#SBATCH --job-name=parrotlet
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=64
#SBATCH --exclusive
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=%x-%j.log
#SBATCH --signal=TERM@120
set -euo pipefail

first=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
# Each restart of the ranks gets a store of its own: in the old one the addresses of the dead would be found.
export TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1
# A port of its own for each job, should two of them share a machine.
port=$((20000 + SLURM_JOB_ID % 10000))

exec srun --kill-on-bad-exit=1 --cpus-per-task="$SLURM_CPUS_PER_TASK" .venv/bin/torchrun \
    --nnodes="$SLURM_JOB_NUM_NODES" \
    --nproc-per-node="${SLURM_GPUS_ON_NODE:-8}" \
    --rdzv-backend=c10d \
    --rdzv-endpoint="$first:$port" \
    --rdzv-id="$SLURM_JOB_ID" \
    --max-restarts=3 \
    -m -- parrotlet train "$@"
