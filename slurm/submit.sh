#!/usr/bin/env bash
# Submits a job with the settings of .env.local, mail included, and says what to type next.
#
#   bash slurm/submit.sh                             the whole pipeline in one job: slurm/speedrun.slurm
#   bash slurm/submit.sh --profile d12               ... with arguments for it
#   bash slurm/submit.sh --chain [...]               a job for each stage that is not done, each after the one before: slurm/stage.slurm
#   bash slurm/submit.sh stage dag_eval.sft          one stage: slurm/stage.slurm
#   bash slurm/submit.sh sweep FILE                  an array of runs, one for each line of FILE: slurm/sweep.slurm
#   bash slurm/submit.sh --dry-run [...]             prints the sbatch commands and submits nothing
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. slurm/refusal.sh
. slurm/known.sh

dry_run="" script=speedrun limit=""
for word in "$@"; do # what is not for us goes back to the end of the list
  shift
  case $word in
    -h | --help) sed -n '2,/^\[/s/^# \{0,1\}//p' slurm/submit.sh; exit 0 ;;
    --dry-run) dry_run=yes ;;
    --chain) script=chain ;;
    *) set -- "$@" "$word" ;;
  esac
done
case ${1:-} in
  stage)
    script=stage
    shift
    case ${1:-} in "" | -*) echo "name a stage: bash slurm/submit.sh stage STAGE[.TAG] [--profile P]" >&2; exit 2 ;; esac
    ;;
  sweep)
    script=sweep
    shift
    [ -n "${1:-}" ] || { echo "name a file with one run on each line: bash slurm/submit.sh sweep FILE" >&2; exit 2; }
    [ -f "$1" ] || { echo "there is no file $1; name one with one run on each line" >&2; exit 2; }
    [ $# -eq 1 ] || { echo "a sweep takes one file, and not: ${*:2}; options stand in its lines" >&2; exit 2; }
    runs=$(sed -e 's/^[[:space:]]*//' -e '/^#/d' -e '/^$/d' -- "$1" | wc -l)
    [ "$runs" -gt 0 ] || { echo "there is no line with a run in $1" >&2; exit 2; }
    ;;
esac

. slurm/env.sh
case ${SBATCH_EXPORT:-} in NONE | NIL) export SBATCH_EXPORT=ALL ;; esac # the job has the settings that are looked at here
[ -f .venv/.installed ] || { echo "there is no Python environment yet; run: bash setup_environment.sh" >&2; exit 2; }
ask() { NANOCHAT_PROFILE="${NANOCHAT_PROFILE:-d20_a100x8}" .venv/bin/python -m "$@"; }
if [ $script = sweep ]; then
  ask scripts.sweep --file="$1" || exit 2
else # what would stop the job must not wait in a queue for it
  if [ $script = stage ]; then check=(--only="$1" "${@:2}"); else check=("$@"); fi
  stages=$(ask scripts.speedrun --names "${check[@]}") || exit 2
  if [ -z "$stages" ]; then
    if [ $script = stage ]; then echo "$1 is done: there is nothing to submit"; else echo "every stage is done: there is nothing to submit"; fi
    exit 0
  fi
  rc=0
  [ $script = chain ] || limit=$(time_asked "slurm/$script.slurm")
  [ -n "$dry_run" ] || in_the_way "$script" "${1:-}" || exit 2
  [ -n "$dry_run" ] || echo "looking at everything the job will need; this can take half a minute"
  [ -n "$dry_run" ] || found=$(ask scripts.preflight "${check[@]}" ${limit:+"--time_limit=$limit"}) || rc=$?
  if [ "$rc" -eq 2 ]; then
    printf '%s\nnot submitted; mend what is named above\n' "$found" >&2
    exit 2
  fi
  [ "$rc" -ne 1 ] || sed -n '/^warn/p' <<<"$found" >&2
fi
mkdir -p logs # Slurm before 23.02 does not make it, and a job without it dies in silence
if [ -n "${SLURM_JOB_ID:-}" ]; then # submitting from within a job: its own SLURM_* would leak into the new one
  for name in $(compgen -e SLURM_ || true); do [ "$name" = SLURM_CONF ] || unset "$name"; done
fi

# How long before its end the job is warned: from what steps and saves took here, at most a quarter of its time.
warning() {
  local seconds time
  seconds=$(ask scripts.requeue --warning 2>/dev/null || true)
  [[ $seconds =~ ^[0-9]+$ ]] || seconds=600
  time=$(seconds_of "$(time_asked "slurm/$1.slurm")")
  [ -z "$time" ] || [ "$seconds" -le $((time / 4)) ] || seconds=$((time / 4))
  echo "$seconds"
}

options=()
if [ -n "${MAIL_USER:-}" ]; then options+=("--mail-user=$MAIL_USER" "--mail-type=${MAIL_TYPE:-END,FAIL,REQUEUE,TIME_LIMIT_90}"); fi
file=$script
[ $script != chain ] || file=stage
seconds=$(warning "$file")
if [ "$seconds" -ne 600 ]; then # the batch files say 600
  export NANOCHAT_SIGNAL="B:USR1@$seconds"
  options+=("--signal=$NANOCHAT_SIGNAL")
fi
if [ $script = sweep ]; then options+=("--array=1-$runs"); fi

# submit OPTIONS... slurm/FILE ARGUMENTS...: shows the command and runs it; the new job's id is then in $job.
submit() {
  echo "sbatch --parsable $*"
  job=ID
  [ -z "$dry_run" ] || return 0
  job=$(sbatch --parsable "$@")
  job=${job%%;*}
  while [ "${1#slurm/}" = "$1" ]; do shift; done
  remember "$job" "$@"
}
ready() {
  [ -z "$dry_run" ] || return 0
  command -v sbatch >/dev/null || { echo "there is no sbatch here: submit on the cluster's login node, or run it here with: bash slurm/$1.slurm" >&2; exit 2; }
  allowed "${options[@]}" "slurm/$1.slurm" "${@:2}" || exit 2
}

# next COMMAND MEANING ...: what to type next, in two columns
next() {
  local words=("$@") width=0 i
  for ((i = 0; i < $#; i += 2)); do [ "${#words[i]}" -le "$width" ] || width=${#words[i]}; done
  printf "  %-${width}s   %s\n" "$@"
}

if [ -z "${NANOCHAT_PROFILE:-}" ] && [[ " $*" != *" --profile"* ]] && [ $script != sweep ]; then
  echo "profile d20_a100x8; NANOCHAT_PROFILE in .env.local or --profile names another"
fi
env | sed -n 's/^\(SBATCH_[A-Z_]*=.*\)/\1/p'
if [ $script = chain ]; then
  ready speedrun
  before=() jobs=()
  for stage in $stages; do
    submit "${options[@]}" "${before[@]}" --job-name="$stage" slurm/stage.slurm "$stage" "$@"
    before=(--dependency="afterok:$job" --kill-on-invalid-dep=yes)
    jobs+=("$job")
  done
  [ -z "$dry_run" ] || exit 0
  echo "submitted ${#jobs[@]} jobs, each waits for the one before: $(tr '\n' ' ' <<<"$stages")"
  next "squeue -u $(id -un) -o '%i %j %T %S %E'" "what runs and what waits for what" \
    "tail -F logs/*_{$(IFS=,; echo "${jobs[*]}")}.out" "what do they say"
  echo "  scancel ${jobs[*]}"
  exit 0
fi

ready "$script" "$@"
submit "${options[@]}" "slurm/$script.slurm" "$@"
[ -z "$dry_run" ] || exit 0
log=logs/${script}_$job.out
[ $script != sweep ] || log="logs/sweep_${job}_*.out"
echo "submitted job $job"
next "squeue -j $job --start" "when does it start" \
  "tail -F $log" "what does it say" \
  "scancel -b -s USR1 $job" "save, and go on from the queue" \
  "touch $(printf %q "${NANOCHAT_BASE_DIR:-$HOME/.cache/nanochat}/STOP")" "save and stop; remove the file and submit again to go on" \
  "scancel $job" "stop" \
  "sacct -j $job --format=jobid,state,elapsed,exitcode" "how did it end"
