# What the batch scripts share; sourced by them, never run. The working directory is the root of the checkout.

# pipeline ARGUMENTS...: runs scripts.speedrun in the background and hands signals on, so that the running stage saves and
# stops before Slurm kills it. Its exit code is that of the pipeline: the job fails when a stage fails.
pipeline() {
  . slurm/env.sh
  mkdir -p logs
  unset SLURM_EXPORT_ENV # sbatch --export=NONE must not empty the environment of what we start
  export HF_HUB_OFFLINE=1 HF_DATASETS_OFFLINE=1 TRANSFORMERS_OFFLINE=1 WANDB_MODE="${WANDB_MODE:-offline}"
  export PYTHONUNBUFFERED=1 PYTHONFAULTHANDLER=1
  if [ -n "${SLURM_JOB_ID:-}" ]; then
    export NANOCHAT_PROFILE="${NANOCHAT_PROFILE:-d20_a100x8}"
    if [ ! -f .venv/.installed ]; then
      echo "there is no Python environment in $PWD; run on the login node: bash setup_environment.sh" >&2
      return 2
    fi
    echo "$(date '+%F %T') job $SLURM_JOB_ID on ${SLURM_JOB_NODELIST:-?}, restart ${SLURM_RESTART_COUNT:-0}, settings: $(env | sed -n 's/^\(SBATCH_[A-Z_]*=.*\)/\1/p' | tr '\n' ' ')"
  else
    bash setup_environment.sh
  fi

  local pid rc=0
  .venv/bin/python -m scripts.speedrun "$@" &
  pid=$!
  trap 'hand_on USR1 '"$pid" USR1
  trap 'hand_on TERM '"$pid" TERM INT
  wait "$pid" || rc=$?
  while kill -0 "$pid" 2>/dev/null; do # a trapped signal ends `wait` early
    rc=0
    wait "$pid" || rc=$?
  done
  echo "$(date '+%F %T') the pipeline ended with exit code $rc$([ "$rc" -ne 75 ] || echo ' (interrupted: submit the same job again to go on)')"
  return "$rc"
}

hand_on() {
  echo "$(date '+%F %T') $1: the running stage saves and stops"
  kill -"$1" "$2" 2>/dev/null || true
}
