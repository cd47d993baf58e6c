# Settings of this site, for whoever sources this file in the root of the checkout:  . slurm/env.sh
# Reads .env.local, loads its modules, and hands its Slurm settings on as SBATCH_* and SALLOC_*, so that a plain `sbatch` or
# `salloc` knows them too.
# What is already set in the environment wins over .env.local. A job has the environment of the shell that submitted it: what was
# read there (NANOCHAT_SETTLED) holds for the job's whole life, also when it starts again after .env.local was edited.

_env_flags=$-
set +u # neither module systems nor .env.local can be trusted to be clean under set -u

# _env_check TEXT: names the first line that is no setting; bash would run half of it as a command and go on.
_env_check() {
  local line number=0 name='[A-Za-z_][A-Za-z0-9_]*' blank='[[:space:]]' value meant setting
  value='"([^"\]|\\.)*"|'"'[^']*'"'|\$\([^)]*\)|\$\{[^}]*\}|`[^`]*`|\\.|[^][:space:]"'"'"'`\]|\]'
  setting="^$blank*(export$blank+)?$name=($value)*($blank+(#.*)?)?\$"
  meant="^$blank*(export$blank+)?($name$blank*=|[A-Z][A-Z0-9_]*($blank|:|\$))"
  while IFS= read -r line; do
    number=$((number + 1))
    if [[ $line =~ $meant ]] && ! [[ $line =~ $setting ]]; then
      [[ $line =~ ^$blank*(export$blank+)?($name) ]]
      echo "line $number of .env.local is no setting; write ${BASH_REMATCH[2]}=\"value\" in one line: no blank around =, quotes around a value with blanks" >&2
      return 2
    fi
  done <<<"$1"
}

if [ -f .env.local ] && ! { [ -n "$SLURM_JOB_ID" ] && [ -n "$NANOCHAT_SETTLED" ]; }; then
  _env_text=$(<.env.local)
  _env_text=${_env_text//$'\r'/} # line ends of Windows
  _env_check "$_env_text" || return 2
  _env_before=$(set -o posix; export -p) # in this form it can be read back inside a function too
  set -a
  eval "$_env_text"
  set +a
  _env_path=$PATH
  eval "$_env_before" 2>/dev/null || true # what the shell has made readonly cannot be set, and need not
  export PATH=$_env_path
  unset _env_before _env_path _env_text
fi
unset -f _env_check
export NANOCHAT_SETTLED=yes

case ${NANOCHAT_MAX_RESTARTS:-0} in
  *[!0-9]*) echo "NANOCHAT_MAX_RESTARTS must be a whole number, not '$NANOCHAT_MAX_RESTARTS'; mend it in .env.local" >&2; return 2 ;;
esac

if [ -n "$SITE_MODULES" ]; then
  if ! type module >/dev/null 2>&1; then
    for _env_file in /etc/profile.d/lmod.sh /etc/profile.d/modules.sh /usr/share/lmod/lmod/init/bash /usr/share/modules/init/bash; do
      [ -r "$_env_file" ] && . "$_env_file" && break
    done
    unset _env_file
  fi
  if type module >/dev/null 2>&1; then
    for _env_module in $SITE_MODULES; do
      module load "$_env_module" || { echo "module '$_env_module' cannot be loaded; mend SITE_MODULES in .env.local (module avail lists them)" >&2; return 2; }
    done
    unset _env_module
  else
    echo "note: SITE_MODULES is set but this machine has no module command; going on without" >&2
  fi
fi

# site setting -> the variables that sbatch and salloc read
_env_hand_on() {
  local site=$1 name
  shift
  for name in "$@"; do
    if [ -n "${!site}" ] && [ -z "${!name}" ]; then export "$name=${!site}"; fi
  done
}
_env_hand_on SITE_ACCOUNT SBATCH_ACCOUNT SALLOC_ACCOUNT
_env_hand_on SITE_PARTITION SBATCH_PARTITION SALLOC_PARTITION
_env_hand_on SITE_QOS SBATCH_QOS SALLOC_QOS
_env_hand_on SITE_CONSTRAINT SBATCH_CONSTRAINT SALLOC_CONSTRAINT
_env_hand_on SITE_RESERVATION SBATCH_RESERVATION SALLOC_RESERVATION
_env_hand_on SITE_GPUS SBATCH_GPUS_PER_NODE
_env_hand_on SITE_MEM SBATCH_MEM_PER_NODE
_env_hand_on SITE_TIME SBATCH_TIMELIMIT
unset -f _env_hand_on

case $_env_flags in *u*) set -u ;; esac
unset _env_flags
