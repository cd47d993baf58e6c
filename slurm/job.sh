# What the batch scripts share; sourced by them, never run. The working directory is the root of the checkout, `job_script` is
# the batch script's path in it, `job_arguments` are its arguments.
#
# A job saves, stops and starts again by itself: Slurm sends USR1 to this shell some minutes before the time limit
# (--signal), the running stage saves and stops, and the job is requeued, or submitted anew where requeueing is
# forbidden, until the pipeline is done. scripts/requeue.py decides whether it may; a file STOP in the base directory ends it.

. slurm/known.sh

asked="" # the signal that came last
woken="" # yes if one came since we last began to wait
child="" # the process that works for us

# pipeline ARGUMENTS...: runs scripts.speedrun. Its exit code is that of the pipeline: the job fails when a stage fails.
pipeline() {
  local rc=0
  begin "$@" || return $?
  supervise .venv/bin/python -m scripts.speedrun "$@" || rc=$?
  settle "$rc"
}

# sweep FILE: runs the line of FILE that is this array element's; without Slurm all of them, one after the other.
sweep() {
  local lines number rc=0 failed=0
  mapfile -t lines < <(sed -e 's/\r$//' -e 's/^[[:space:]]*//' -e '/^#/d' -e '/^$/d' -- "$1")
  begin || return $?
  if [ -z "${SLURM_ARRAY_TASK_ID:-}" ]; then
    for ((number = 1; number <= ${#lines[@]}; number++)); do
      (element "$number" "${lines[number - 1]}") || failed=$?
    done
    return "$failed"
  fi
  number=$SLURM_ARRAY_TASK_ID
  if [ "$number" -lt 1 ] || [ "$number" -gt ${#lines[@]} ]; then
    echo "$1 has ${#lines[@]} lines of settings, and none for element $number; submit it with: bash slurm/submit.sh sweep $1" >&2
    return 2
  fi
  element "$number" "${lines[number - 1]}" || rc=$?
  settle "$rc"
}

# element NUMBER LINE: a stage with options and a tag of its own, or arguments for speedrun in a base directory of its own.
element() {
  local words number=$1 root=$PWD i name
  mapfile -t words < <(xargs printf '%s\n' <<<"$2")
  echo "element $number: $2"
  if [ -f "scripts/${words[0]}.py" ]; then
    [ -n "$(value_of tag "${words[@]}")" ] || { echo "element $number needs a --tag=..., or it would overwrite the others" >&2; return 2; }
    supervise .venv/bin/python -m "scripts.${words[0]}" "${words[@]:1}"
    return $?
  fi
  for i in "${!words[@]}"; do # it runs in another folder, so that each has a report.md of its own
    name=${words[i]#*=}
    [ ! -f "$name" ] || words[i]="${words[i]%"$name"}$(realpath "$name")"
  done
  export NANOCHAT_DATA_DIR="${NANOCHAT_DATA_DIR:-$(base_dir)/data}"
  NANOCHAT_BASE_DIR="$(base_dir)/sweep/$number"
  export NANOCHAT_BASE_DIR PYTHONPATH="$root${PYTHONPATH:+:$PYTHONPATH}"
  mkdir -p "$NANOCHAT_BASE_DIR"
  cd "$NANOCHAT_BASE_DIR"
  local rc=0
  supervise "$root/.venv/bin/python" -m scripts.speedrun "${words[@]}" || rc=$?
  cd "$root"
  return "$rc"
}

# value_of OPTION ARGUMENTS...: what --OPTION is in ARGUMENTS, or nothing
value_of() {
  local option=$1 found=""
  shift
  while [ $# -gt 0 ]; do
    case $1 in
      "--$option="* | "$option="*) found=${1#*=} ;;
      "--$option") found=${2:-} ;;
    esac
    shift
  done
  echo "$found"
}

log() { echo "$(date '+%F %T') $*"; }

# -- before ----------------------------------------------------------------------------------------------------------------

# begin ARGUMENTS...: the settings of the site, what Slurm must not leave behind, and a look at everything before the first stage.
begin() {
  trap 'hand_on USR1' USR1 # from the first moment: without a trap the signal kills this shell
  trap 'hand_on TERM' TERM INT
  . slurm/env.sh || return 2
  mkdir -p logs
  unset SLURM_EXPORT_ENV # sbatch --export=NONE must not empty the environment of what we start
  export HF_HUB_OFFLINE=1 HF_DATASETS_OFFLINE=1 TRANSFORMERS_OFFLINE=1 WANDB_MODE="${WANDB_MODE:-offline}"
  export PYTHONUNBUFFERED=1 PYTHONFAULTHANDLER=1
  if [ -z "${SLURM_JOB_ID:-}" ]; then
    bash setup_environment.sh
    return
  fi
  export NANOCHAT_PROFILE="${NANOCHAT_PROFILE:-d20_a100x8}"
  if [ ! -f .venv/.installed ]; then
    echo "there is no Python environment in $PWD; run on the login node: bash setup_environment.sh" >&2
    return 2
  fi
  log "job $SLURM_JOB_ID on ${SLURM_JOB_NODELIST:-?}, restart ${SLURM_RESTART_COUNT:-0}, settings: $(env | sed -n 's/^\(SBATCH_[A-Z_]*=.*\)/\1/p' | tr '\n' ' ')"
  remember "$SLURM_JOB_ID" "$job_script" "${job_arguments[@]}"
  same_on_all_nodes && preflight "$@"
}

# Every node of the job must see this checkout and the base directory.
same_on_all_nodes() {
  [ "${SLURM_NNODES:-1}" -gt 1 ] || return 0
  mkdir -p "$(base_dir)"
  # shellcheck disable=SC2016
  on_every_node 300 bash -c '[ -d "$1" ] && [ -e "$2/.venv/bin/python" ] || { echo "$(hostname) does not see $1 or $2: both must lie on a file system that all nodes share" >&2; exit 1; }' look "$(base_dir)" "$PWD" || return 2
}

# on_every_node SECONDS COMMAND...
on_every_node() { timeout "$1" srun --overlap --nodes="$SLURM_NNODES" --ntasks="$SLURM_NNODES" --ntasks-per-node=1 --export=ALL "${@:2}"; }

# Looks at every file, package and GPU that the stages will need; only what would stop the job stops it here.
preflight() {
  local words=() option value rc=0
  [ "$job_script" != slurm/sweep.slurm ] || return 0
  for option in profile data_dir from only; do
    value=$(value_of "$option" "$@")
    [ -z "$value" ] || words+=("--$option=$value")
  done
  supervise .venv/bin/python -m scripts.preflight "${words[@]}" || rc=$?
  [ "$rc" -eq 2 ] || return 0
  if [ -e "$(base_dir)/STOP" ]; then
    echo "nothing was started: the stop file $(base_dir)/STOP is there; remove it and submit again to go on" >&2
    return 75
  fi
  echo "nothing was started; mend what preflight names and submit the job again" >&2
  return 2
}

# -- meanwhile -------------------------------------------------------------------------------------------------------------

# supervise COMMAND...: runs it in the background, so that traps are served at once, and gives its exit code. A request that came
# before is kept: nothing new is started then.
supervise() {
  local rc=0
  [ -z "$asked" ] || return 75
  "$@" &
  child=$!
  woken=yes
  while [ -n "$woken" ]; do # a trapped signal ends `wait` early
    woken="" rc=0
    wait "$child" || rc=$?
  done
  child=""
  if [ -n "$asked" ] && [ "$rc" -gt 128 ]; then rc=75; fi # the signal came before it listened
  return "$rc"
}

hand_on() {
  asked=$1 woken=yes
  log "$1: the running stage saves and stops"
  [ -z "$child" ] || kill -"$1" "$child" 2>/dev/null || true
}

# -- after -----------------------------------------------------------------------------------------------------------------

# settle CODE: what follows from how it ended. Only a job whose time was over, or which lost a node, starts again.
settle() {
  local rc=$1
  log "the pipeline ended with exit code $rc"
  [ -n "${SLURM_JOB_ID:-}" ] || { [ "$rc" -ne 75 ] || echo "interrupted: the same command goes on"; return "$rc"; }
  if [ "$rc" -eq 75 ] && [ "$asked" = USR1 ]; then
    again || rc=$?
  elif [ "$rc" -eq 1 ] && [ "${SLURM_NNODES:-1}" -gt 1 ] && ! on_every_node 60 true; then
    log "a node of this job does not answer"
    again || rc=$?
  elif [ "$rc" -eq 75 ]; then
    echo "interrupted: submit the same job again to go on"
  fi
  return "$rc"
}

# Has this job start again, if it may. NANOCHAT_LOOP is the id under which a job was first submitted that has been submitted anew since.
again() {
  local job=${NANOCHAT_LOOP:-${SLURM_ARRAY_JOB_ID:-$SLURM_JOB_ID}${SLURM_ARRAY_TASK_ID:+_$SLURM_ARRAY_TASK_ID}} decision rc=0
  decision=$(.venv/bin/python -m scripts.requeue --job="$job") || rc=$?
  log "${decision:-not started again}"
  [ "$rc" -eq 0 ] || return "$rc"
  trap - USR1 TERM INT # Slurm ends this shell when it has taken the job back
  if scontrol requeue "$SLURM_JOB_ID"; then
    sleep 120
    return 75
  fi
  log "requeueing is not allowed here: submitting the job anew"
  resubmit "$job"
  return 75
}

# resubmit FIRST_JOB: the same script with the same arguments and resources; jobs that wait for this one wait for the new one.
resubmit() {
  local shown options=() name new waiting
  shown=" $(scontrol -o show job "$SLURM_JOB_ID")"
  field() { sed -n "s|.* $1=\([^ ]*\).*|\1|p" <<<"$shown"; }
  given() { case $2 in "" | "(null)" | N/A) ;; *) options+=("$1=$2") ;; esac; }
  given --account "$(field Account)"
  given --partition "$(field Partition)"
  given --qos "$(field QOS)"
  given --reservation "$(field Reservation)"
  given --constraint "$(field Features)"
  given --time "$(field TimeLimit)"
  given --nodes "$(field NumNodes)"
  given --cpus-per-task "$(field CPUs/Task)"
  given --mem "$(field MinMemoryNode)"
  given --gpus-per-node "$(field TresPerNode | sed -n 's|^gres[:/]gpu[:=]||p')"
  given --job-name "$(field JobName)"
  given --mail-user "$(field MailUser)"
  given --mail-type "$(field MailType)"
  given --signal "${NANOCHAT_SIGNAL:-}"
  given --array "${SLURM_ARRAY_TASK_ID:-}"
  options+=("--export=ALL,NANOCHAT_LOOP=$1")
  new=$(
    for name in $(compgen -e SLURM_ || true); do [ "$name" = SLURM_CONF ] || unset "$name"; done # they would leak into the new job
    sbatch --parsable --no-requeue "${options[@]}" "$job_script" "${job_arguments[@]}"
  ) || { log "the job could not be submitted anew; submit it yourself to go on"; return 1; }
  new=${new%%;*}
  log "goes on as job $new"
  remember "$new" "$job_script" "${job_arguments[@]}"
  squeue -h -u "$(id -un)" -t PENDING -o '%i %E' | while read -r name waiting; do
    if [[ $waiting =~ ^afterok:$SLURM_JOB_ID(\(.*\))?$ ]]; then scontrol update JobId="$name" Dependency="afterok:$new"; fi
  done
}
