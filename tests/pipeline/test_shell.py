"""The shell scripts: they parse, hold nothing of any site, and read .env.local as they promise."""

import os
import re
import shutil
import subprocess

import pytest

SCRIPTS = ["setup_environment.sh", "speedrun.sh", "run_tests.sh", "download_data.sh", ".ci/run"]
BATCH = ["slurm/speedrun.slurm", "slurm/stage.slurm", "slurm/sweep.slurm"]
SLURM = ["slurm/env.sh", "slurm/job.sh", "slurm/known.sh", "slurm/refusal.sh", "slurm/submit.sh", *BATCH]


@pytest.mark.parametrize("name", [*SCRIPTS, *SLURM])
def test_a_script_parses(repository, name):
    subprocess.run(["bash", "-n", repository / name], check=True)


@pytest.mark.parametrize("name", [*SCRIPTS, *BATCH, "slurm/submit.sh"])
def test_a_script_that_is_run_is_strict(repository, name):
    assert "\nset -euo pipefail\n" in (repository / name).read_text()


@pytest.mark.parametrize("name", SLURM)
def test_no_name_of_a_site_stands_in_the_slurm_files(repository, name):
    text = (repository / name).read_text()
    options = " ".join(re.findall(r"^#SBATCH (.*)$", text, re.MULTILINE))
    for option in ("account", "partition", "qos", "mail", "constraint", "reservation", "nodelist", "exclude", "chdir", "uid", "-A", "-p"):
        assert not re.search(rf"(^|\s|-){option}\b", options), option
    assert not re.search(r"/(scratch|home|users|gpfs|lustre|work|projects?|opt)/", text)
    assert not re.search(r"\w@[\w-]+\.\w", text), "no address of anybody"


def test_slurm_files_ask_for_one_node_with_eight_gpus_and_a_warning_before_the_end(repository):
    text = (repository / "slurm/speedrun.slurm").read_text()
    for line in ("--nodes=1", "--gpus-per-node=8", "--open-mode=append", "--output=logs/%x_%j.out"):
        assert f"\n#SBATCH {line}\n" in text
    assert int(re.search(r"--signal=B:USR1@(\d+)", text).group(1)) >= 120
    head, _, body = text.partition("set -euo pipefail")
    assert "#SBATCH" not in body, "options after the first command are ignored"
    assert (repository / "logs/.gitkeep").exists(), "older Slurm does not make the folder of the log"


def test_every_setting_that_the_scripts_read_is_in_the_example_and_commented(repository):
    example = (repository / ".env.local.example").read_text()
    settings = re.findall(r"^#([A-Z_]+)=", example, re.MULTILINE)
    read = set()
    for name in [*SCRIPTS, *SLURM]:
        read |= set(
            re.findall(
                r"\b(SITE_[A-Z]+|TORCH_[A-Z_]+|MAIL_[A-Z]+|NANOCHAT_(?:PROFILE|BASE_DIR|DATA_DIR))\b", (repository / name).read_text()
            )
        )
    assert read <= set(settings)
    assert all(line.startswith("#") or not line.strip() for line in example.splitlines())


@pytest.fixture
def checkout(repository, tmp_path):
    """A copy of the scripts with stand-ins for the environment and the pipeline."""
    root = tmp_path / "checkout"
    for name in [*SCRIPTS, *SLURM, "pyproject.toml"]:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(repository / name, root / name)
    stand_in(
        root / ".venv/bin/python",
        'echo "python $*"; echo "profile=${NANOCHAT_PROFILE:-} offline=${HF_HUB_OFFLINE:-}"; exit "${FAKE_CODE:-0}"',
    )
    (root / "setup_environment.sh").write_text("#!/bin/bash\nexit 0\n")
    (root / ".venv/.installed").touch()
    return root


def stand_in(path, body: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/bash\n{body}\n")
    path.chmod(0o755)


def bash(root, *words, **environment) -> subprocess.CompletedProcess:
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("SLURM_", "SBATCH_", "SITE_"))}
    return subprocess.run(["bash", *words], cwd=root, env={**clean, **environment}, text=True, capture_output=True, timeout=60)


def test_arguments_reach_the_pipeline(checkout):
    done = bash(checkout, "speedrun.sh", "--profile", "d12", "--dry-run")
    assert done.stdout.startswith("python -m scripts.speedrun --profile d12 --dry-run")
    done = bash(checkout, "download_data.sh", "--verify")
    assert done.stdout.startswith("python -m scripts.prefetch --verify")
    done = bash(checkout, "run_tests.sh", "tests/x.py", "-k", "a b")
    assert done.stdout.startswith("python -m pytest tests/x.py -k a b")


@pytest.mark.parametrize("code", [0, 1, 2, 75])
@pytest.mark.parametrize("script", ["speedrun.sh", "download_data.sh", "slurm/speedrun.slurm"])
def test_the_exit_code_is_the_pipeline_s(checkout, script, code):
    assert bash(checkout, script, FAKE_CODE=str(code)).returncode == code


def test_the_job_script_runs_without_slurm_offline_and_from_anywhere(checkout, tmp_path):
    done = bash(tmp_path, "checkout/slurm/speedrun.slurm", "--profile", "embedded")
    assert "python -m scripts.speedrun --profile embedded" in done.stdout and "profile= offline=1" in done.stdout


@pytest.mark.parametrize("submitted_from", [".", "slurm"])
def test_under_slurm_the_profile_is_the_cluster_s(checkout, tmp_path, submitted_from):
    spool = tmp_path / "spool"
    spool.mkdir()
    shutil.copy(checkout / "slurm/speedrun.slurm", spool / "slurm_script")
    inside = {"SLURM_JOB_ID": "7", "SLURM_SUBMIT_DIR": str(checkout / submitted_from), "SLURM_EXPORT_ENV": "NONE"}
    done = bash(spool, "slurm_script", **inside)
    assert done.returncode == 0 and "profile=d20_a100x8 offline=1" in done.stdout and "job 7" in done.stdout
    assert "profile=d12" in bash(spool, "slurm_script", NANOCHAT_PROFILE="d12", **inside).stdout


def test_a_job_without_an_environment_says_how_to_make_it(checkout):
    (checkout / ".venv/.installed").unlink()
    done = bash(checkout, "slurm/speedrun.slurm", SLURM_JOB_ID="7", SLURM_SUBMIT_DIR=str(checkout))
    assert done.returncode == 2 and "bash setup_environment.sh" in done.stderr


def test_a_signal_to_the_job_reaches_the_pipeline_and_the_job_waits_for_it(checkout):
    stand_in(
        checkout / ".venv/bin/python",
        "trap 'echo got USR1; sleep 0.5; echo saved; exit 75' USR1\ntouch ready\nfor i in $(seq 100); do sleep 0.1; done",
    )
    script = "bash slurm/speedrun.slurm & p=$!; until [ -e ready ]; do sleep 0.05; done; kill -USR1 $p; wait $p; echo code $?"
    done = bash(checkout, "-c", script)
    assert "got USR1" in done.stdout and "saved" in done.stdout and done.stdout.strip().endswith("code 75")
    assert "the same command goes on" in done.stdout


def test_one_stage_is_a_job_too(checkout):
    done = bash(checkout, "slurm/stage.slurm", "dag_eval.sft", "--profile", "d12")
    assert "python -m scripts.speedrun --only=dag_eval.sft --profile d12" in done.stdout
    assert bash(checkout, "slurm/stage.slurm").returncode == 2


LOCAL = """
SITE_ACCOUNT=my-account
SITE_PARTITION="gpu"
SITE_GPUS=a100:8
MAIL_USER=me@example.org
NANOCHAT_BASE_DIR=/big/$USER/nanochat
UNSET_IS_FINE=$NOT_SET_ANYWHERE
"""


def test_env_local_becomes_what_sbatch_reads(checkout):
    (checkout / ".env.local").write_text(LOCAL)
    shown = "echo $SBATCH_ACCOUNT $SALLOC_PARTITION $SBATCH_GPUS_PER_NODE $NANOCHAT_BASE_DIR; echo ${SBATCH_QOS:-none}; echo $-"
    done = bash(checkout, "-c", f"set -u; unset NANOCHAT_BASE_DIR; . slurm/env.sh; {shown}", USER="jo")
    assert done.stdout.splitlines()[:2] == ["my-account gpu a100:8 /big/jo/nanochat", "none"], done.stderr
    assert "u" in done.stdout.splitlines()[2]


def test_the_shell_s_own_settings_win_over_env_local(checkout):
    (checkout / ".env.local").write_text(LOCAL)
    done = bash(
        checkout, "-c", ". slurm/env.sh; echo $SBATCH_ACCOUNT $NANOCHAT_BASE_DIR", SBATCH_ACCOUNT="other", NANOCHAT_BASE_DIR="/mine"
    )
    assert done.stdout.split() == ["other", "/mine"]


def test_sourcing_the_settings_inside_a_function_works_too(checkout):
    (checkout / ".env.local").write_text(LOCAL)
    shown = "f() { . slurm/env.sh; }; f; echo $SBATCH_ACCOUNT $NANOCHAT_BASE_DIR $MAIL_USER; env | grep -c ^NANOCHAT_BASE_DIR=/mine"
    done = bash(checkout, "-c", shown, SBATCH_ACCOUNT="other", NANOCHAT_BASE_DIR="/mine")
    assert done.stdout.split() == ["other", "/mine", "me@example.org", "1"]


@pytest.mark.parametrize(
    "line, name",
    [
        ("SITE_ACCOUNT = x", "SITE_ACCOUNT"),
        ("NANOCHAT_BASE_DIR=/my disk/x", "NANOCHAT_BASE_DIR"),
        ("export MAIL_USER='open", "MAIL_USER"),
        ("SITE_ACCOUNT my-account", "SITE_ACCOUNT"),
    ],
)
def test_a_line_of_env_local_that_is_no_setting_is_named(checkout, line, name):
    (checkout / ".env.local").write_text(f"# mine\nSITE_QOS=normal\n{line}\n")
    done = bash(checkout, "slurm/submit.sh", "--dry-run")
    assert done.returncode == 2 and not done.stdout and len(done.stderr.splitlines()) == 1
    assert f'line 3 of .env.local is no setting; write {name}="value"' in done.stderr


@pytest.mark.parametrize(
    "line, value",
    [
        ('A="two words" # why', "two words"),
        ("export A='two words'", "two words"),
        ("A=$(echo two words)", "two words"),
        ("A=${NOT_SET:-two words}", "two words"),
        ("A=two\\ words", "two words"),
        ("  A=/x/$USER'/y'", "/x/jo/y"),
        ("A=", ""),
    ],
)
@pytest.mark.parametrize("end", ["\n", "\r\n", ""])
def test_a_setting_is_read_whatever_its_quotes_and_line_ends(checkout, line, value, end):
    (checkout / ".env.local").write_bytes(f"# mine\n\n{line}{end}".encode())
    done = bash(checkout, "-c", '. slurm/env.sh; printf "[%s]" "$A"', USER="jo")
    assert done.stdout == f"[{value}]" and not done.stderr


@pytest.mark.parametrize("text", ["abc", "-1", "2.5"])
def test_a_number_of_restarts_that_is_none_is_refused_before_submission(checkout, text):
    done = bash(checkout, "slurm/submit.sh", "--dry-run", NANOCHAT_MAX_RESTARTS=text)
    assert done.returncode == 2 and f"NANOCHAT_MAX_RESTARTS must be a whole number, not '{text}'" in done.stderr


def test_modules_are_loaded_in_order_where_there_are_modules(checkout):
    (checkout / ".env.local").write_text('SITE_MODULES="python/3.12 cuda/12"\n')
    done = bash(checkout, "-c", 'module() { echo "module $*"; }; . slurm/env.sh')
    assert done.stdout.splitlines() == ["module load python/3.12", "module load cuda/12"]
    done = bash(checkout, "-c", "module() { return 1; }; . slurm/env.sh; echo went on $?")
    assert "module 'python/3.12' cannot be loaded" in done.stderr and "went on 2" in done.stdout


def test_submit_shows_its_command_with_mail_and_site(checkout):
    (checkout / ".env.local").write_text(LOCAL)
    shutil.rmtree(checkout / "logs", ignore_errors=True)
    done = bash(checkout, "slurm/submit.sh", "--dry-run", "--profile", "d12")
    assert "SBATCH_ACCOUNT=my-account" in done.stdout
    assert (
        "sbatch --parsable --mail-user=me@example.org --mail-type=END,FAIL,REQUEUE,TIME_LIMIT_90 slurm/speedrun.slurm --profile d12"
        in done.stdout
    )
    assert (checkout / "logs").is_dir()


def test_submit_prints_what_to_type_next(checkout):
    stand_in(checkout / "bin/sbatch", 'echo "args $* account=${SBATCH_ACCOUNT:-} mem=${SLURM_MEM_PER_NODE:-none}" >&2; echo "4711;cluster"')
    path = f"{checkout / 'bin'}:{os.environ['PATH']}"
    done = bash(checkout, "slurm/submit.sh", "stage", "dag_eval.sft", PATH=path, SLURM_JOB_ID="1", SLURM_MEM_PER_NODE="5")
    assert done.returncode == 0 and "args --parsable slurm/stage.slurm dag_eval.sft account= mem=none" in done.stderr
    for line in ("submitted job 4711", "squeue -j 4711 --start", "tail -F logs/stage_4711.out", "scancel -b -s USR1 4711"):
        assert line in done.stdout


@pytest.fixture
def submit(checkout):
    """Runs slurm/submit.sh beside an sbatch that leaves a mark when it is called."""
    stand_in(checkout / "bin/sbatch", "touch submitted; echo 7")

    def call(*words, **environment):
        path = f"{checkout / 'bin'}:{os.environ['PATH']}"
        done = bash(checkout, "slurm/submit.sh", *words, PATH=path, **environment)
        return done, (checkout / "submitted").exists()

    return call


@pytest.mark.parametrize("words", [["--help"], ["-h"], ["stage", "--help"], ["--profile", "d12", "--help"]])
def test_submit_helps_and_submits_nothing(submit, words):
    done, submitted = submit(*words)
    assert done.returncode == 0 and not submitted and "bash slurm/submit.sh stage dag_eval.sft" in done.stdout


@pytest.mark.parametrize(
    "words", [["--profile", "d12", "--dry-run"], ["stage", "dag_eval.sft", "--dry-run"], ["stage", "--dry-run", "report"]]
)
def test_a_dry_run_of_submit_may_be_asked_for_anywhere(submit, words):
    done, submitted = submit(*words)
    rest = [word for word in words if word not in ("stage", "--dry-run")]
    assert done.returncode == 0 and not submitted
    assert done.stdout.splitlines()[-1].endswith(f"slurm/{'stage' if 'stage' in words else 'speedrun'}.slurm {' '.join(rest)}")


def test_what_the_pipeline_would_refuse_is_not_submitted(checkout, submit):
    stand_in(checkout / ".venv/bin/python", 'echo "asked: $* in ${NANOCHAT_PROFILE:-}" >&2; exit 2')
    done, submitted = submit("stage", "nope")
    assert done.returncode == 2 and not submitted
    assert "asked: -m scripts.speedrun --names --only=nope in d20_a100x8" in done.stderr
    done, submitted = submit("--profile", "d21")
    assert done.returncode == 2 and not submitted and "asked: -m scripts.speedrun --names --profile d21" in done.stderr


def test_a_stage_job_wants_its_stage_first(checkout, submit):
    for words in (["stage"], ["stage", "--profile", "d12"]):
        done, submitted = submit(*words)
        assert done.returncode == 2 and not submitted and "name a stage" in done.stderr
    done = bash(checkout, "slurm/stage.slurm", "--dry-run")
    assert done.returncode == 2 and "name a stage" in done.stderr


@pytest.mark.parametrize("name", [*SCRIPTS[:-1], "slurm/submit.sh"])
def test_a_script_started_with_sh_goes_on_in_bash(checkout, name):
    stand_in(checkout / "bin/sbatch", "echo 7")
    stand_in(checkout / ".venv/bin/ruff", "exit 0")
    environment = {**os.environ, "PATH": f"{checkout / 'bin'}:{os.environ['PATH']}"}
    done = subprocess.run(["sh", name], cwd=checkout, env=environment, text=True, capture_output=True, timeout=60)
    assert done.returncode == 0 and "pipefail" not in done.stderr


def test_setup_helps(repository):
    done = bash(repository, "setup_environment.sh", "--help")
    assert done.returncode == 0 and "TORCH_INDEX_URL" in done.stdout and "set -" not in done.stdout


def test_submit_without_slurm_says_what_to_do(checkout):
    tools = checkout / "bin"
    tools.mkdir()
    for name in ("bash", "dirname", "mkdir", "env", "sed", "realpath"):
        (tools / name).symlink_to(shutil.which(name))
    done = bash(checkout, "slurm/submit.sh", PATH=str(tools))
    assert done.returncode == 2 and "bash slurm/speedrun.slurm" in done.stderr


def test_setup_without_a_fit_python_is_one_sentence(repository, checkout):
    shutil.copy(repository / "setup_environment.sh", checkout)
    (checkout / ".venv/.installed").unlink()
    for name in ("python3.10", "python3.11", "python3.12", "python3.13", "python3.14", "python3", "python"):
        stand_in(checkout / "bin" / name, "exit 1")
    done = bash(checkout, "setup_environment.sh", PATH=f"{checkout / 'bin'}:{os.environ['PATH']}")
    assert done.returncode == 2 and len(done.stderr.strip().splitlines()) == 1 and "3.10" in done.stderr


def test_setup_is_done_when_nothing_changed(repository, checkout):
    shutil.copy(repository / "setup_environment.sh", checkout)
    stamp = "\n".join(["torch==2.13.0", "", str(checkout), (checkout / "pyproject.toml").read_text()])
    (checkout / ".venv/.installed").write_text(stamp)
    done = bash(checkout, "setup_environment.sh")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


# -- jobs that start again ------------------------------------------------------------------------------------------------


@pytest.fixture
def job(checkout, tmp_path):
    """Runs slurm/stage.slurm as Slurm would, with stand-ins for Slurm and a pipeline that gets USR1 when `warned`; gives what it said."""
    for name in ("scontrol", "squeue", "sbatch"):
        stand_in(checkout / "bin" / name, f'echo "{name} $*" >>calls; eval "${{ON_{name.upper()}:-true}}"')
    pipeline = """case "$*" in
  *scripts.preflight*) exit "${ON_PREFLIGHT:-0}" ;;
  *scripts.requeue*) echo "requeue: $*" >>calls; exit "${ON_REQUEUE:-0}" ;;
esac
trap 'exit 75' USR1
if [ -n "$WARNED" ]; then kill -USR1 $PPID; for i in $(seq 100); do sleep 0.1; done; fi
exit "${ON_PIPELINE:-0}" """
    stand_in(checkout / ".venv/bin/python", pipeline)

    def run(warned: bool = False, **environment):
        path = f"{checkout / 'bin'}:{os.environ['PATH']}"
        inside = {"SLURM_JOB_ID": "41", "SLURM_SUBMIT_DIR": str(checkout), "PATH": path, "WARNED": "yes" if warned else ""}
        done = bash(checkout, "slurm/stage.slurm", "dag_eval.sft", **{**inside, **environment})
        calls = (checkout / "calls").read_text() if (checkout / "calls").exists() else ""
        return done, calls

    return run


REFUSED = "[ $1 != requeue ]"


def test_a_job_whose_time_is_over_is_requeued(job):
    done, calls = job(warned=True, ON_SCONTROL="[ $1 != requeue ] || kill -TERM $PPID")
    assert done.returncode == -15, "Slurm ends the shell when it has taken the job back"
    assert "--job=41" in calls and calls.endswith("scontrol requeue 41\n") and "sbatch" not in calls


def test_where_that_is_forbidden_it_is_submitted_anew_with_the_same_arguments(job):
    shown = (
        "JobId=41 JobName=stage Account=acc QOS=(null) TimeLimit=04:00:00 Partition=gpu NumNodes=1 CPUs/Task=16 TresPerNode=gres:gpu:a100:8"
    )
    waiting = "echo 50 afterok:41(unfulfilled); echo 51 afterok:40(unfulfilled); echo 52 (null)".replace("(", "\\(").replace(")", "\\)")
    scontrol = f"case $1 in requeue) false ;; -o) echo '{shown}' ;; esac"
    done, calls = job(warned=True, ON_SCONTROL=scontrol, ON_SBATCH='echo "77 ${SLURM_JOB_ID:-none}" | cut -d" " -f1', ON_SQUEUE=waiting)
    assert done.returncode == 75 and "goes on as job 77" in done.stdout, done.stderr
    submitted = next(line for line in calls.splitlines() if line.startswith("sbatch"))
    assert submitted.endswith("slurm/stage.slurm dag_eval.sft") and "--export=ALL,NANOCHAT_LOOP=41" in submitted
    for option in (
        "--account=acc",
        "--partition=gpu",
        "--time=04:00:00",
        "--gpus-per-node=a100:8",
        "--cpus-per-task=16",
        "--job-name=stage",
    ):
        assert option in submitted
    assert "--qos" not in submitted and "--mem=" not in submitted
    assert "scontrol update JobId=50 Dependency=afterok:77" in calls and calls.count("update") == 1


def test_a_job_submitted_anew_counts_as_the_first(job):
    _, calls = job(warned=True, ON_SCONTROL=REFUSED, NANOCHAT_LOOP="12")
    assert "--job=12" in calls and "NANOCHAT_LOOP=12" in calls


@pytest.mark.parametrize("code", [1, 75])
def test_what_may_not_start_again_does_not(job, code):
    done, calls = job(warned=True, ON_REQUEUE=str(code))
    assert done.returncode == code and "scontrol" not in calls and "sbatch" not in calls


@pytest.mark.parametrize("code", [0, 1, 2, 75])
def test_a_job_that_ends_by_itself_is_not_requeued(job, code):
    done, calls = job(ON_PIPELINE=str(code))
    assert done.returncode == code and not calls
    assert ("submit the same job again" in done.stdout) == (code == 75)


@pytest.mark.parametrize("preflight, code", [(0, 0), (1, 0), (2, 2)])
def test_only_what_would_stop_the_job_stops_it_before_the_first_stage(job, preflight, code):
    done, _ = job(ON_PREFLIGHT=str(preflight))
    assert done.returncode == code and ("nothing was started" in done.stderr) == (code == 2)


def test_a_job_that_lost_a_node_is_requeued_and_one_that_failed_is_not(checkout, job):
    nodes = {"SLURM_NNODES": "2", "NANOCHAT_BASE_DIR": str(checkout / "base"), "ON_PIPELINE": "1"}
    stand_in(checkout / "bin/srun", 'case "$*" in *true) exit "${LOST:-0}" ;; esac')
    done, calls = job(**nodes)
    assert done.returncode == 1 and not calls
    done, calls = job(LOST="1", ON_SCONTROL="kill -TERM $PPID", **nodes)
    assert "does not answer" in done.stdout and "scontrol requeue 41" in calls


SEEN = 'echo "seen ${NANOCHAT_DATA_DIR:-none} ${NANOCHAT_PROFILE:-none} ${WANDB_MODE:-none} $PATH"'


def test_in_a_job_the_environment_of_its_submission_wins_over_env_local(checkout, job):
    (checkout / ".env.local").write_text("NANOCHAT_DATA_DIR=/file\nNANOCHAT_PROFILE=d12\n")
    stand_in(checkout / ".venv/bin/python", SEEN)
    assert "seen /file d12" in job()[0].stdout, "submitted without . slurm/env.sh: the job reads the file itself"
    assert "seen /mine d12" in job(NANOCHAT_DATA_DIR="/mine")[0].stdout


def test_what_is_written_into_env_local_after_the_submission_does_not_change_the_job(checkout, job):
    settled = bash(checkout, "-c", ". slurm/env.sh; env | grep ^NANOCHAT_SETTLED").stdout.strip().partition("=")
    (checkout / ".env.local").write_text("NANOCHAT_DATA_DIR=/later\nWANDB_MODE=online\n")
    stand_in(checkout / ".venv/bin/python", SEEN)
    assert "seen none d20_a100x8 offline" in job(**{settled[0]: settled[2]})[0].stdout


def test_in_a_job_the_path_of_the_modules_reaches_the_pipeline(checkout, job):
    (checkout / ".env.local").write_text("SITE_MODULES=python/3.12\nPATH=$PATH:/from/file\n")
    stand_in(checkout / ".venv/bin/python", SEEN)
    module = {"BASH_FUNC_module%%": "() { PATH=/from/module:$PATH; }"}
    seen = next(line for line in job(**module)[0].stdout.splitlines() if line.startswith("seen "))
    assert "/from/module:" in seen and seen.endswith(":/from/file")


def test_nodes_that_do_not_share_the_base_directory_stop_the_job(checkout, job):
    stand_in(checkout / "bin/srun", 'echo "gpu02 does not see it" >&2; exit 1')
    done, _ = job(SLURM_NNODES="2", NANOCHAT_BASE_DIR=str(checkout / "base"))
    assert done.returncode == 2 and "gpu02 does not see it" in done.stderr


# -- sweeps ---------------------------------------------------------------------------------------------------------------


@pytest.fixture
def runs(checkout):
    """A file with three runs, the second of which fails."""
    stand_in(checkout / ".venv/bin/python", 'echo "ran $* in ${NANOCHAT_BASE_DIR:-} from $PWD"; case "$*" in *bad*) exit 3 ;; esac')
    (checkout / "scripts").mkdir()
    (checkout / "scripts/base_train.py").touch()
    (checkout / "wide.toml").touch()
    path = checkout / "runs.txt"
    path.write_text("# comment\nbase_train --tag=a --depth=6\n\nbase_train --tag=bad\n  --profile=wide.toml --data_dir='my data'\n")
    return path


def test_without_slurm_a_sweep_runs_every_line_and_ends_with_the_code_of_one_that_failed(checkout, runs):
    done = bash(checkout, "slurm/sweep.slurm", str(runs), NANOCHAT_BASE_DIR="base")
    ran = [line for line in done.stdout.splitlines() if line.startswith("ran ")]
    assert done.returncode == 3 and len(ran) == 3
    assert ran[0].startswith("ran -m scripts.base_train --tag=a --depth=6 in base")
    folder = f"{checkout}/base/sweep/3"
    assert ran[2] == f"ran -m scripts.speedrun --profile={checkout}/wide.toml --data_dir=my data in {folder} from {folder}"


@pytest.mark.parametrize("element, code", [("1", 0), ("2", 3), ("3", 0), ("4", 2)])
def test_an_element_runs_its_line_and_has_its_exit_code(checkout, runs, element, code):
    inside = {"SLURM_JOB_ID": "41", "SLURM_ARRAY_JOB_ID": "40", "SLURM_ARRAY_TASK_ID": element, "SLURM_SUBMIT_DIR": str(checkout)}
    done = bash(checkout, "slurm/sweep.slurm", str(runs), NANOCHAT_BASE_DIR=str(checkout / "base"), **inside)
    assert done.returncode == code and done.stdout.count("ran ") == (code != 2), done.stderr


def test_a_stage_in_a_sweep_needs_a_tag(checkout, runs):
    runs.write_text("base_train --depth=6\n")
    done = bash(checkout, "slurm/sweep.slurm", str(runs))
    assert done.returncode == 2 and "needs a --tag" in done.stderr and "ran " not in done.stdout


def test_a_sweep_is_submitted_with_as_many_elements_as_runs(checkout, runs):
    done = bash(checkout, "slurm/submit.sh", "sweep", "runs.txt", "--dry-run")
    assert done.stdout.splitlines()[-1].endswith("--array=1-3 slurm/sweep.slurm runs.txt")
    assert "ran -m scripts.sweep --file=runs.txt" in done.stdout
    runs.write_text("# nothing\n")
    assert bash(checkout, "slurm/submit.sh", "sweep", "runs.txt").returncode == 2


@pytest.mark.parametrize(
    "words, said",
    [
        ([], "name a file with one run on each line"),
        (["nofile"], "there is no file nofile"),
        (["runs.txt", "--profile", "d12"], "takes one file, and not: --profile d12"),
    ],
)
def test_a_sweep_takes_one_file_that_is_there(submit, runs, words, said):
    done, submitted = submit("sweep", *words)
    assert done.returncode == 2 and not submitted and said in done.stderr


def test_a_sweep_with_a_line_that_cannot_run_is_not_submitted(checkout, submit, runs):
    stand_in(checkout / ".venv/bin/python", 'echo "run 2: no such stage" >&2; exit 2')
    done, submitted = submit("sweep", "runs.txt")
    assert done.returncode == 2 and not submitted and done.stderr == "run 2: no such stage\n"


# -- submission -----------------------------------------------------------------------------------------------------------


def test_a_chain_is_a_job_for_each_stage_that_waits_for_the_one_before(checkout):
    stand_in(checkout / ".venv/bin/python", "case \"$*\" in *--names*) printf 'base_train\\nbase_eval\\n' ;; esac")
    stand_in(checkout / "bin/sbatch", 'case "$*" in *test-only*) exit 0 ;; esac; echo "$*" >>calls; echo $((70 + $(wc -l <calls)))')
    path = f"{checkout / 'bin'}:{os.environ['PATH']}"
    done = bash(checkout, "slurm/submit.sh", "--chain", "--profile", "d12", PATH=path)
    first, second = (checkout / "calls").read_text().splitlines()
    assert first == "--parsable --job-name=base_train slurm/stage.slurm base_train --profile d12"
    assert (
        second
        == "--parsable --dependency=afterok:71 --kill-on-invalid-dep=yes --job-name=base_eval slurm/stage.slurm base_eval --profile d12"
    )
    assert "submitted 2 jobs" in done.stdout and "scancel 71 72" in done.stdout


@pytest.mark.parametrize(
    "said, environment, remedy",
    [
        ("sbatch: error: Batch job submission failed: Invalid account or account/partition combination specified", {"SBATCH_ACCOUNT": "x"},
         "use the account 'x' here; set SITE_ACCOUNT"),
        ("allocation failure: Requested time limit is invalid (missing or exceeds some limit)", {"SBATCH_TIMELIMIT": "5-0"},
         "time limit 5-0 is above"),
        ("allocation failure: Requested node configuration is not available", {"SBATCH_GPUS_PER_NODE": "h100:8"}, "GPUs h100:8"),
        ("allocation failure: Invalid qos specification", {"SBATCH_QOS": "high"}, "set SITE_QOS"),
        ("allocation failure: Invalid feature specification", {"SBATCH_CONSTRAINT": "z"}, "unset SITE_CONSTRAINT"),
        ("allocation failure: Requested reservation is invalid", {}, "SITE_RESERVATION"),
        ("sbatch: error: Unable to contact slurm controller (connect failure)", {}, "controller does not answer"),
        ("sbatch: error: Something new", {}, "Slurm says: Something new"),
    ],
)  # fmt: skip
def test_what_slurm_refuses_becomes_one_sentence(checkout, said, environment, remedy):
    stand_in(checkout / "bin/sbatch", f'echo "$*" >>calls; echo "{said}" >&2; exit 1')
    done = bash(checkout, "slurm/submit.sh", PATH=f"{checkout / 'bin'}:{os.environ['PATH']}", **environment)
    assert done.returncode == 2 and remedy in done.stderr and len(done.stderr.splitlines()) == 1
    assert (checkout / "calls").read_text().startswith("--test-only") and (checkout / "calls").read_text().count("\n") == 1


@pytest.mark.parametrize("limit, refused", [("1-00:00:00", False), ("11:59:59", True), ("30:00", True), ("infinite", False)])
def test_a_time_limit_that_a_partition_would_let_wait_for_ever_is_refused(submit, checkout, limit, refused):
    stand_in(checkout / "bin/sinfo", f'echo "small* {limit}"; echo "other 1-0"')
    stand_in(checkout / "bin/sbatch", 'case "$*" in *test-only*) exit 0 ;; esac; touch submitted; echo 7')
    done, submitted = submit()
    assert submitted != refused and (f"set SITE_TIME={limit}" in done.stderr) == refused


def test_the_warning_before_the_end_is_what_was_measured_and_at_most_a_quarter_of_the_time(checkout):
    stand_in(checkout / ".venv/bin/python", 'case "$*" in *--warning) echo 900 ;; *--names*) echo base_train ;; esac')
    assert "--signal=B:USR1@900 slurm/speedrun.slurm" in bash(checkout, "slurm/submit.sh", "--dry-run").stdout
    assert "--signal=B:USR1@300 slurm/speedrun.slurm" in bash(checkout, "slurm/submit.sh", "--dry-run", SITE_TIME="20").stdout


@pytest.mark.parametrize("words", [[], ["--dry-run", "--profile", "nosuch"], ["--chain"], ["stage", "report", "--dry-run"]])
def test_without_an_environment_nothing_is_submitted_or_promised(checkout, submit, words):
    shutil.rmtree(checkout / ".venv")
    done, submitted = submit(*words)
    assert done.returncode == 2 and not submitted and not done.stdout
    assert done.stderr == "there is no Python environment yet; run: bash setup_environment.sh\n"


@pytest.mark.parametrize("words", [[], ["--chain"], ["--dry-run"], ["stage", "report"]])
def test_when_all_is_done_nothing_is_submitted(checkout, submit, words):
    stand_in(checkout / ".venv/bin/python", "true")
    done, submitted = submit(*words)
    what = "report" if "stage" in words else "every stage"
    assert (done.returncode, done.stdout, submitted) == (0, f"{what} is done: there is nothing to submit\n", False)


@pytest.fixture
def queue(checkout, base_dir):
    """Jobs 40 (the pipeline), 41 (one stage) and 42 (elsewhere) are in the queue."""
    (base_dir / "slurm").mkdir(parents=True)
    (base_dir / "slurm/jobs").write_text("39 speedrun\n")
    stand_in(checkout / "bin/squeue", 'echo "42 RUNNING"; [ ! -e first ] || cat first')
    return lambda line, state: ((base_dir / "slurm/jobs").open("a").write(line + "\n"), (checkout / "first").write_text(state + "\n"))


@pytest.mark.parametrize(
    "there, words, refused",
    [
        ("40 speedrun", [], True),
        ("40 speedrun", ["--chain"], True),
        ("40 speedrun", ["stage", "dag_eval.sft"], True),
        ("40 stage base_train", [], True),
        ("40 stage dag_eval.sft", ["stage", "dag_eval.sft"], True),
        ("40 stage dag_eval", ["stage", "dag_eval.sft"], False),
        ("", [], False),
        ("40 speedrun", ["sweep", "runs.txt"], False),
    ],
)
def test_what_a_job_does_already_is_not_submitted_again(submit, queue, checkout, base_dir, there, words, refused):
    (checkout / "runs.txt").write_text("base_train --tag=a\n")
    queue(there, "40 PENDING")
    done, submitted = submit(*words)
    assert submitted != refused
    if refused:
        assert done.returncode == 2 and f"job {there.replace(' ', ' (', 1)}) is PENDING and works in {base_dir}" in done.stderr
        assert "scancel 40" in done.stderr


def test_a_submission_is_remembered_by_its_base_directory(submit, base_dir):
    submit("--profile", "d12")
    submit("--dry-run", "stage", "report")
    assert (base_dir / "slurm/jobs").read_text() == "7 speedrun\n"


def test_a_job_that_begins_is_remembered_once_and_the_one_it_submits_anew(job, base_dir):
    job()
    job(warned=True, ON_SCONTROL=REFUSED, ON_SBATCH="echo 77")
    assert (base_dir / "slurm/jobs").read_text() == "41 stage dag_eval.sft\n77 stage dag_eval.sft\n"


def test_submit_says_which_profile_it_takes_where_nobody_named_one(submit):
    assert "profile d20_a100x8; NANOCHAT_PROFILE in .env.local" in submit("--dry-run", NANOCHAT_PROFILE="")[0].stdout
    assert "profile d20" not in submit("--dry-run", "--profile", "d12")[0].stdout
    assert "profile d20" not in submit("--dry-run", NANOCHAT_PROFILE="d12")[0].stdout


def test_a_job_has_the_environment_that_was_looked_at_where_a_site_would_empty_it(submit):
    assert "SBATCH_EXPORT=ALL" in submit(SBATCH_EXPORT="NONE")[0].stdout
    assert "SBATCH_EXPORT" not in submit()[0].stdout


def test_what_preflight_refuses_is_not_submitted(checkout, submit):
    stand_in(
        checkout / ".venv/bin/python", 'case "$*" in *preflight*) echo "data.parquet is missing"; exit 2 ;; *) echo base_train ;; esac'
    )
    done, submitted = submit()
    assert done.returncode == 2 and not submitted and "data.parquet is missing\nnot submitted" in done.stderr
