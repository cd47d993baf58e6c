"""The guard: nothing but this machine and its job can be reached, and whoever tries is named."""

import multiprocessing
import socket
import urllib.request

import pytest

from nanochat.pipeline import offline
from nanochat.pipeline.offline import OfflineError, expand_nodes, guarded
from nanochat.pipeline.stage import execute
from tests.pipeline.toy import caller

ELSEWHERE = "192.0.2.7"  # reserved for documentation: nobody has it
TESTS = "tests/pipeline/test_offline.py"


@pytest.fixture(autouse=True)
def no_job(monkeypatch):
    for name in ("MASTER_ADDR", "SLURM_JOB_NODELIST", "SLURM_LAUNCH_NODE_IPADDR"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def server():
    """A listening port on loopback."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


def udp(host):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.sendto(b"x", (host, 53))


def connect_ex(host):
    with socket.socket() as s:
        s.settimeout(0.2)
        s.connect_ex((host, 443))


@pytest.mark.parametrize(
    "reach",
    [
        lambda: socket.create_connection((ELSEWHERE, 443), timeout=0.2),
        lambda: socket.getaddrinfo("huggingface.co", 443),
        lambda: socket.gethostbyname("huggingface.co"),
        lambda: connect_ex(ELSEWHERE),
        lambda: udp(ELSEWHERE),
        lambda: socket.create_connection(("2001:db8::1", 443), timeout=0.2),
    ],
)
def test_every_way_out_is_closed_and_the_caller_is_named(reach):
    with guarded(), pytest.raises(OfflineError, match=rf"{TESTS}:\d+ tried to reach (192.0.2.7|huggingface.co|2001:db8::1)"):
        reach()


def test_a_library_does_not_hide_who_called_it():
    with guarded(), pytest.raises(OfflineError, match=rf"^{TESTS}:\d+ tried to reach example.org:80"):
        urllib.request.build_opener(urllib.request.ProxyHandler({})).open("http://example.org/data", timeout=0.2)


def test_the_library_that_was_used_is_named_beside_the_caller():
    requests = pytest.importorskip("requests")
    with guarded(), pytest.raises(OfflineError, match=rf"^{TESTS}:\d+ \(through urllib3\) tried to reach example.org:80"):
        requests.Session().get("http://example.org/data", timeout=0.2, proxies={"http": ""})


def test_without_a_guard_nothing_is_refused():
    with guarded():
        pass
    with pytest.raises(OSError):  # refused by the network or by the clock, not by us
        socket.create_connection((ELSEWHERE, 443), timeout=0.1)


def test_loopback_and_unix_sockets_stay_open(server, tmp_path):
    with guarded():
        for host in ("127.0.0.1", "localhost", "::ffff:127.0.0.1"):
            socket.create_connection((host, server), timeout=5).close()
        with socket.socket(socket.AF_UNIX) as listening, socket.socket(socket.AF_UNIX) as asking:
            listening.bind(str(tmp_path / "s"))
            listening.listen()
            asking.connect(str(tmp_path / "s"))


def test_this_machine_may_be_called_by_its_name():
    with guarded():
        socket.gethostbyname(socket.gethostname())
        socket.getaddrinfo(None, 0)


def test_the_master_and_the_nodes_of_the_job_may_be_reached(monkeypatch):
    monkeypatch.setenv("MASTER_ADDR", ELSEWHERE)
    monkeypatch.setenv("SLURM_JOB_NODELIST", "gpu[01-02]")
    with guarded():
        with pytest.raises(OSError):
            socket.create_connection((ELSEWHERE, 443), timeout=0.1)
        for node in ("gpu02", "gpu01.cluster.example"):
            with pytest.raises(OSError):
                socket.getaddrinfo(node, 29500)
        with pytest.raises(OfflineError):
            socket.getaddrinfo("gpu03", 29500)


def test_the_address_of_an_allowed_name_may_be_reached(monkeypatch):
    monkeypatch.setitem(offline._known, "gpu01", {ELSEWHERE})
    monkeypatch.setenv("SLURM_JOB_NODELIST", "gpu01")
    with guarded(), pytest.raises(OSError):
        socket.create_connection((ELSEWHERE, 443), timeout=0.1)


@pytest.mark.parametrize(
    "text, names",
    [
        ("", []),
        ("gpu01", ["gpu01"]),
        ("gpu[01-02,07],login", ["gpu01", "gpu02", "gpu07", "login"]),
        ("r[1-2]n[09-10]", ["r1n09", "r1n10", "r2n09", "r2n10"]),
    ],
)
def test_lists_of_nodes(text, names):
    assert expand_nodes(text) == names


def _reach(queue):
    with guarded():
        queue.put("up")


def test_processes_can_still_be_started_and_talk():
    with guarded():
        context = multiprocessing.get_context("spawn")
        queue = context.Queue()
        child = context.Process(target=_reach, args=(queue,))
        child.start()
        assert queue.get(timeout=30) == "up"
        child.join()


def test_a_stage_that_calls_home_fails_with_the_place_and_the_remedy(profile, status, capfd):
    assert execute(caller.STAGE, [f"--profile={profile}"]) == 1
    error = status("caller")["error"]
    assert "tests/pipeline/toy/caller.py:" in error and "huggingface.co:443" in error and "bash download_data.sh" in error
    assert "Traceback" not in capfd.readouterr().err


def test_a_stage_may_talk_to_its_own_machine(profile, status, server):
    assert execute(caller.STAGE, [f"--profile={profile}", "--host=127.0.0.1", f"--port={server}"]) == 0
    assert status("caller")["headline"] == "reached 127.0.0.1"


def test_an_online_mirror_may_reach_its_server(profile, monkeypatch):
    monkeypatch.setenv("WANDB_BASE_URL", "https://metrics.example.org")
    seen = []
    monkeypatch.setattr("nanochat.pipeline.stage._mirror", lambda run: seen.append(offline._allowed[-1]))
    execute(caller.STAGE, [f"--profile={profile}", "--wandb=online"])
    execute(caller.STAGE, [f"--profile={profile}", "--wandb=offline"])
    assert ["metrics.example.org" in hosts for hosts in seen] == [True, False]
