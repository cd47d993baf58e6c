#!/usr/bin/env bash
# Submits a job with the settings of .env.local, mail included, and says what to type next.
#
#   bash slurm/submit.sh                             the whole pipeline: slurm/speedrun.slurm
#   bash slurm/submit.sh --profile d12               ... with arguments for it
#   bash slurm/submit.sh stage dag_eval.sft          one stage: slurm/stage.slurm
#   bash slurm/submit.sh --dry-run [...]             prints the sbatch command and submits nothing
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

dry_run=""
if [ "${1:-}" = --dry-run ]; then
  dry_run=yes
  shift
fi
script=speedrun
if [ "${1:-}" = stage ]; then
  script=stage
  shift
  [ $# -ge 1 ] || { echo "name a stage: bash slurm/submit.sh stage STAGE[.TAG]" >&2; exit 2; }
fi

. slurm/env.sh
mkdir -p logs # Slurm before 23.02 does not make it, and a job without it dies in silence
if [ -n "${SLURM_JOB_ID:-}" ]; then # submitting from within a job: its own SLURM_* would leak into the new one
  for name in $(compgen -e SLURM_ || true); do [ "$name" = SLURM_CONF ] || unset "$name"; done
fi
command=(sbatch --parsable)
if [ -n "${MAIL_USER:-}" ]; then command+=("--mail-user=$MAIL_USER" "--mail-type=${MAIL_TYPE:-END,FAIL,REQUEUE,TIME_LIMIT_90}"); fi
command+=("slurm/$script.slurm" "$@")

env | sed -n 's/^\(SBATCH_[A-Z_]*=.*\)/\1/p'
echo "${command[*]}"
[ -z "$dry_run" ] || exit 0
command -v sbatch >/dev/null || { echo "there is no sbatch here: submit on the cluster's login node, or run it here with: bash slurm/$script.slurm" >&2; exit 2; }
[ -f .venv/.installed ] || { echo "there is no Python environment yet; run: bash setup_environment.sh" >&2; exit 2; }
job=$("${command[@]}")
job=${job%%;*}
cat <<NEXT
submitted job $job
  squeue -j $job --start                            when does it start
  tail -F logs/${script}_$job.out                     what does it say
  scancel -b -s USR1 $job                           save and stop; submit again to go on
  scancel $job                                      stop
  sacct -j $job --format=jobid,state,elapsed,exitcode
NEXT
