#!/bin/bash
# Many clips on a Slurm cluster: every task of the array takes its share of one manifest. Submit again after a failure or a time limit:
# what is done is skipped, what is half done goes on.
#
#   sbatch --array=0-7 slurm_array.sh /shared/jobs.csv
#
#SBATCH --job-name=e2fgvi
#SBATCH --gpus=1
#SBATCH --cpus-per-task=4
#SBATCH --mem=16G
#SBATCH --time=12:00:00
#SBATCH --requeue
#SBATCH --output=e2fgvi-%A_%a.log
set -euo pipefail

manifest=${1:?give the manifest: sbatch --array=0-7 slurm_array.sh /shared/jobs.csv}
count=${SLURM_ARRAY_TASK_COUNT:?submit with --array=0-N}
index=$(( SLURM_ARRAY_TASK_ID - SLURM_ARRAY_TASK_MIN + 1 ))

# exec: Slurm's signals reach e2fgvi itself, which ends its workers and leaves nothing half.
exec e2fgvi batch "$manifest" --shard "$index/$count" --threads "${SLURM_CPUS_PER_TASK:-1}" --quiet "${@:2}"
