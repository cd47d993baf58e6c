# What Slurm would say to a job, before it is submitted: sourced by slurm/submit.sh.

# allowed SBATCH_WORDS...: asks Slurm, submits nothing; one sentence with the remedy if it would refuse the job, or let it wait for ever.
allowed() {
  local said asked limit partition
  if ! said=$(timeout 120 sbatch --test-only "$@" 2>&1); then
    echo "not submitted: $(remedy "$said")" >&2
    return 1
  fi
  partition=${SBATCH_PARTITION:-}
  limit=$(timeout 60 sinfo -h ${partition:+-p "$partition"} -o '%P %l' 2>/dev/null | awk -v name="$partition" 'name != "" || $1 ~ /[*]$/ {print $2; exit}')
  asked=$(time_asked "$@")
  if [ -n "$(seconds_of "$limit")" ] && [ "$(seconds_of "${asked:-0}")" -gt "$(seconds_of "$limit")" ]; then
    echo "not submitted: $(too_long "$asked" "$limit")" >&2 # some sites accept such a job and never start it
    return 1
  fi
}

# remedy MESSAGE: Slurm's message as a sentence that says what to change.
remedy() {
  local words site
  words=$(tr '\n' ' ' <<<"$1" | sed -e 's/sbatch: error: //g' -e 's/allocation failure: //g' -e 's/ *$//')
  site="in .env.local"
  case $words in
    *[Ii]nvalid\ account*) echo "Slurm does not let you use the account '${SBATCH_ACCOUNT:-none}' here; set SITE_ACCOUNT $site (sacctmgr -n show assoc user=$(id -un) format=account,partition lists yours)" ;;
    *[Ii]nvalid\ partition*) echo "there is no partition '${SBATCH_PARTITION:-default}'; set SITE_PARTITION $site (sinfo -s lists them)" ;;
    *time\ limit*) echo "$(too_long "${SBATCH_TIMELIMIT:-of the batch file}" "$(sinfo -h ${SBATCH_PARTITION:+-p "$SBATCH_PARTITION"} -o %l 2>/dev/null | sed -n 1p)")" ;;
    *[Ii]nvalid\ qos*) echo "you may not use the QOS '${SBATCH_QOS:-default}'; set SITE_QOS $site (sacctmgr -n show assoc user=$(id -un) format=qos lists yours)" ;;
    *reservation*) echo "there is no reservation '${SBATCH_RESERVATION:-}' for you now; set or unset SITE_RESERVATION $site (scontrol show reservation)" ;;
    *feature*) echo "no node has the feature '${SBATCH_CONSTRAINT:-}'; set or unset SITE_CONSTRAINT $site (sinfo -o '%P %f')" ;;
    *node\ configuration* | *generic\ resource* | *gres* | *GRES*) echo "no node has what the job asks for (GPUs ${SBATCH_GPUS_PER_NODE:-8}, memory ${SBATCH_MEM_PER_NODE:-256G}); set SITE_GPUS and SITE_MEM $site (sinfo -o '%P %G %c %m')" ;;
    *[Uu]nable\ to\ contact* | *[Cc]onnection*) echo "Slurm's controller does not answer; wait a minute, or ask the site whether it is down (scontrol ping)" ;;
    *) echo "Slurm says: $words" ;;
  esac
}

too_long() {
  echo "the time limit $1 is above what the partition allows (${2:-sinfo -o '%P %l' lists it}); set SITE_TIME${2:+=$2} in .env.local: the job saves before its end, requeues itself and goes on"
}

# time_asked WORDS...: the time limit that the environment or the batch file among WORDS asks for.
time_asked() {
  local word
  if [ -n "${SBATCH_TIMELIMIT:-}" ]; then echo "$SBATCH_TIMELIMIT"; return; fi
  for word in "$@"; do
    case $word in *.slurm) sed -n 's/^#SBATCH --time=//p' "$word"; return ;; esac
  done
}

# seconds_of TIME: a time limit as Slurm writes it (minutes, MM:SS, HH:MM:SS, D-HH, D-HH:MM:SS) in seconds; nothing if it is none.
seconds_of() {
  local days=0 rest=$1 a b c
  [[ $rest =~ ^([0-9]+-)?[0-9]+(:[0-9]+){0,2}$ ]] || return 0
  if [ "${rest#*-}" != "$rest" ]; then days=${rest%%-*} rest=${rest#*-}; fi
  IFS=: read -r a b c <<<"$rest"
  if [ "$days" != 0 ] || [ -n "$c" ]; then
    echo $((10#$days * 86400 + 10#$a * 3600 + 10#${b:-0} * 60 + 10#${c:-0}))
  else
    echo $((10#$a * 60 + 10#${b:-0}))
  fi
}
