"""The manifest: where things are, whether they are whole, who may open them, and that nothing else is opened."""

import ast
import gzip
import hashlib
import re

import pytest

from nanochat import common, config
from nanochat.common import UserError
from nanochat.pipeline import manifest, watch
from nanochat.pipeline.inputs import Input
from nanochat.pipeline.manifest import Asset, Download, Source
from nanochat.pipeline.plan import make_plan
from nanochat.pipeline.prefetch import absent, verify
from nanochat.pipeline.stage import execute
from tests.pipeline.toy import peek

PROFILES = config.profiles()


def fill(folder, assets) -> None:
    """Empty files where the downloads of some assets, or a person, would put them."""
    folder.mkdir(exist_ok=True)
    for entry in assets:
        for path in [d.path for d in entry.files] or [entry.place.replace("**/*", "x").replace("*", "x")]:
            path = f"{path}/core.yaml" if path == "eval_bundle" else path
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).touch()


# ---------------------------------------------------------------------------------------------------------------------
# The file


def test_the_manifest_is_no_profile():
    assert "manifest" not in PROFILES and "embedded" in PROFILES
    with pytest.raises(UserError, match="no profile 'manifest'"):
        config.load_profile("manifest")


def test_every_entry_says_where_it_comes_from_its_licence_and_its_stages():
    stages = {path.stem for path in config.SCRIPTS_DIR.glob("*.py")}
    for entry in manifest.all_assets().values():
        source = entry.source
        assert entry.licence and entry.stages and set(entry.stages) <= stages and source.title and source.home
        assert bool(source.hub) + bool(source.url) + bool(source.by_hand) == 1
        assert bool(entry.files) != bool(source.by_hand), entry.id
        assert not source.hub or re.fullmatch(r"[0-9a-f]{40}|main", source.revision)
        assert source.citation or source.by_hand


def test_every_download_is_pinned_and_its_size_is_about_known():
    for entry in manifest.all_assets().values():
        for download in entry.files:
            assert download.about > 0 and (not download.sha256 or re.fullmatch(r"[0-9a-f]{64}", download.sha256))
            assert not entry.source.hub or f"/resolve/{entry.source.revision}/" in download.url
            assert entry.holds(download.path)


def test_paths_are_the_same_for_no_two_downloads_and_stay_inside():
    paths = [d.path for a in manifest.all_assets(20).values() for d in a.files]
    assert len(paths) == len(set(paths)) and not any(p.startswith("/") or ".." in p for p in paths)


def test_the_validation_shard_is_always_the_same_and_sorts_last():
    for shards in (1, 8, 240):
        names = [d.path for d in manifest.all_assets(shards)["base_data"].files]
        assert len(names) == shards + 1 and max(names) == names[-1] == "base_data/shard_01822.parquet"


def test_the_hub_may_be_a_mirror(monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://mirror.example/")
    (download,) = manifest.asset("humaneval").files
    revision = manifest.asset("humaneval").source.revision
    place = "datasets/openai/openai_humaneval/resolve"
    assert download.url == f"http://mirror.example/{place}/{revision}/openai_humaneval/test-00000-of-00001.parquet"


def test_published_numbers_of_rows():
    rows = {name: entry.rows for name, entry in manifest.all_assets().items()}
    assert (rows["gsm8k/train"], rows["gsm8k/test"], rows["humaneval"]) == (7473, 1319, 164)
    assert (rows["mmlu/auxiliary_train"], rows["mmlu/validation"], rows["mmlu/test"]) == (99842, 1531, 14042)
    assert [rows[f"arc/{level}-{split}"] for level in ("easy", "challenge") for split in ("train", "validation", "test")] == [
        2251, 570, 2376, 1119, 299, 1172]  # fmt: skip


# ---------------------------------------------------------------------------------------------------------------------
# What the stages of the profiles open


@pytest.mark.parametrize("profile", PROFILES)
def test_every_stage_of_every_profile_opens_what_the_manifest_gives_it_and_nothing_else(profile, tmp_path):
    """With nothing in the data folder but the profile's assets: each input is one of them, each of them is an input."""
    wanted, data = manifest.of_profile(profile), tmp_path / "data"
    fill(data, wanted)
    opened = set()
    for step in make_plan(profile, str(data)):
        inputs = step.stage.inputs(step.stage.configure(list(step.argv)))
        for item in (item for item in inputs if item.path.is_relative_to(data)):
            found = manifest.owner(item.path, data)
            assert found is not None, f"{step.label} opens {item.path}"
            assert step.stage.name in found.stages, f"{step.label} may not open {found.id}"
            assert item.path.exists() or item.optional, f"{step.label} needs {item.path}, which the profile does not fetch"
            opened |= {found.id} if item.path.exists() else set()
        manifest.refuse_strangers(step.stage.name, inputs, data)
    assert opened == {entry.id for entry in wanted}


@pytest.mark.parametrize("asset_id", ["gsm8k/train", "humaneval", "tokenizers/r50k_base", "eval_bundle", "base_data", "svamp/test"])
def test_a_stage_that_opens_what_is_not_its_own_is_refused(tmp_path, asset_id):
    entry = manifest.asset(asset_id)
    path = tmp_path / (entry.files[0].path if entry.files else entry.place)
    manifest.refuse_strangers(entry.stages[0], [Input(path, "")], tmp_path)
    with pytest.raises(UserError, match=f"does not let report open {asset_id}; add it there"):
        manifest.refuse_strangers("report", [Input(path, "")], tmp_path)


def test_a_file_that_no_one_wrote_into_the_manifest_is_refused_unless_a_person_names_it(tmp_path, base_dir):
    path = tmp_path / "gsm8k" / "secret.jsonl"
    with pytest.raises(UserError, match="names no such file; add it there"):
        manifest.refuse_strangers("mid_train", [Input(path, "")], tmp_path)
    manifest.refuse_strangers("mid_train", [Input(path, "", own=True), Input(base_dir / "tokenizer", "")], base_dir.parent)


def test_no_other_module_fetches_anything(repository):
    """Whatever could bring bytes from outside is called by the download alone."""
    names = {
        "urlopen",
        "urlretrieve",
        "build_opener",
        "load_dataset",
        "get_encoding",
        "hf_hub_download",
        "snapshot_download",
        "from_pretrained",
    }
    modules = {"requests", "httpx", "huggingface_hub", "aiohttp"}
    found = []
    for path in [p for room in ("nanochat", "scripts", "tasks") for p in (repository / room).rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            called = getattr(node.func, "attr", getattr(node.func, "id", "")) if isinstance(node, ast.Call) else ""
            imported = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            imported += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            if called in names or modules & {name.partition(".")[0] for name in imported}:
                found.append(str(path.relative_to(repository)))
    assert set(found) == {"nanochat/pipeline/transfer.py"}


# ---------------------------------------------------------------------------------------------------------------------
# Opening is watched


def test_a_file_of_the_data_folder_that_was_not_declared_cannot_be_opened(tmp_path):
    for name in ("a.txt", "b.txt", "bundle/c.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    declared = [Input(tmp_path / "a.txt", ""), Input(tmp_path / "bundle", "")]
    with watch.only_declared(declared, tmp_path):
        assert (tmp_path / "a.txt").read_text() and (tmp_path / "bundle" / "c.txt").read_text()
        with pytest.raises(UserError, match="b.txt is opened without being an input"):
            (tmp_path / "b.txt").read_text()
        with pytest.raises(UserError, match="b.txt is opened without being an input"):
            watch.reading(tmp_path / "b.txt")
    assert (tmp_path / "b.txt").read_text() == "b.txt"


def test_a_library_that_reads_by_itself_is_watched_too(tmp_path):
    from nanochat.data.sources import read_parquet
    from tasks.files import read_rows
    from tests.pipeline.data_folder import write_parquet

    write_parquet(tmp_path / "a.parquet", [{"text": "a"}])
    with watch.only_declared([], tmp_path):
        for read in (lambda path: list(read_parquet(path)), read_rows):
            with pytest.raises(UserError, match="without being an input"):
                read(tmp_path / "a.parquet")
    assert len(read_rows(tmp_path / "a.parquet")) == 1


def test_what_the_pipeline_made_itself_is_free_even_where_the_data_lies_around_it(base_dir):
    made = base_dir / "tokenizer" / "ranks"
    made.parent.mkdir(parents=True)
    made.write_text("x")
    with watch.only_declared([], base_dir.parent):
        assert made.read_text() == "x"


def test_a_stage_that_opens_more_than_it_says_fails(profile, status, tmp_path, capsys):
    """The toy stage `peek` reads a file of the data folder without declaring it."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "hidden.txt").write_text("7")
    assert execute(peek.STAGE, [f"--profile={profile}", f"--data_dir={tmp_path / 'data'}"]) == 1
    assert "hidden.txt is opened without being an input of the stage" in capsys.readouterr().err
    assert status("peek")["state"] == "failed"


# ---------------------------------------------------------------------------------------------------------------------
# Where it is


@pytest.mark.parametrize(
    ("asset_id", "name"),
    [
        ("gsm8k/train", "gsm8k/train.jsonl"),
        ("gsm8k/train", "gsm8k/train.parquet"),
        ("gsm8k/train", "gsm8k/main/train-00000-of-00001.parquet"),
        ("mmlu/test", "mmlu/mmlu_test.jsonl.gz"),
        ("mmlu/auxiliary_train", "mmlu/auxiliary_train/part.csv"),
        ("arc/easy-test", "arc/ARC-Easy-Test.jsonl"),
        ("humaneval", "humaneval/HumanEval.jsonl.gz"),
        ("base_data", "base_data/shard_00003.parquet"),
        ("smoltalk/train", "smoltalk/data/deep/train-0.jsonl"),
        ("bigbench_arithmetic", "bigbench/a/arithmetic/1_digit_addition/task.json"),
    ],
)
def test_an_asset_is_found_in_any_of_its_forms(tmp_path, asset_id, name):
    assert manifest.find(asset_id, tmp_path) is None
    path = tmp_path / name
    path.parent.mkdir(parents=True)
    path.touch()
    assert manifest.find(asset_id, tmp_path) == path
    assert manifest.owner(path, tmp_path).id == asset_id


@pytest.mark.parametrize(
    "name", ["gsm8k/train.txt", "gsm8k/other.jsonl", "base_data/deep/shard_0.parquet", "x/gsm8k/train.jsonl", "../gsm8k/train.jsonl"]
)
def test_what_only_looks_like_an_asset_belongs_to_none(tmp_path, name):
    assert manifest.owner(tmp_path / name, tmp_path) is None


def test_the_advice_names_the_download_only_where_it_brings_the_file(tmp_path):
    advice = manifest.advice(tmp_path / "gsm8k/train.parquet", str(tmp_path), "d12")
    assert advice.startswith(f"download it with: bash download_data.sh --profile d12 --data_dir {tmp_path}, or put it there, or give")
    assert manifest.advice(tmp_path / "text/*.txt", str(tmp_path), "real_small").startswith("put it there, or give")
    assert "download" not in manifest.advice(tmp_path / "gsm8k/train.parquet", str(tmp_path), "embedded")
    here = common.base_dir() / "data" / "gsm8k/train.parquet"
    assert manifest.advice(here, "", "d12").startswith("download it with: bash download_data.sh --profile d12, or")


# ---------------------------------------------------------------------------------------------------------------------
# Is it whole?


def entry_of(rows=2, **known) -> Asset:
    return Asset(
        "a", ("a",), (".jsonl", ".jsonl.gz"), Source("s", "s", "CC0", "", ("x",), url="u"), (Download("a.jsonl", "u", **known),), rows
    )


def lock(folder, name, **line) -> None:
    content = (folder / name).read_bytes()
    known = {"size": len(content), "sha256": hashlib.sha256(content).hexdigest(), "rows": 2}
    common.write_json(folder / manifest.LOCK, {name: known | line})


TWO = '{"a": 1}\n{"a": 2}\n'


def test_a_whole_asset_has_no_faults_with_or_without_a_lock(tmp_path):
    (tmp_path / "a.jsonl").write_text(TWO)
    for _ in range(2):
        assert manifest.check(entry_of(), tmp_path) == manifest.check(entry_of(), tmp_path, rehash=True) == []
        lock(tmp_path, "a.jsonl")


@pytest.mark.parametrize(
    ("content", "line", "known", "words", "quick"),
    [
        ("", {}, {}, "is empty", True),
        ('{"a": 1}\n{"a" 2}\n', {}, {}, "cannot be read", False),
        ('{"a": 1}\n', {"size": 9}, {}, "has 9 bytes instead of 18", True),
        (TWO, {}, {"size": 17}, "has 18 bytes instead of 17", True),
        (TWO.replace("2", "3"), {"of": TWO}, {}, "is not what was downloaded", False),
        (TWO, {}, {"sha256": "0" * 64}, "is not what was downloaded", False),
        (TWO + '{"a": 3}\n', {}, {}, "has 3 rows instead of 2", True),
    ],
)
def test_each_fault_is_one_sentence(tmp_path, content, line, known, words, quick):
    path = tmp_path / "a.jsonl"
    path.write_text(line.get("of", TWO))
    if line:
        lock(tmp_path, "a.jsonl")
    path.write_text(content)
    (fault,) = manifest.check(entry_of(**known), tmp_path, rehash=True)
    assert fault.startswith(f"{path} ") and words in fault and "\n" not in fault
    assert bool(manifest.check(entry_of(**known), tmp_path)) == quick


def test_what_is_missing_is_named_with_its_place_and_who_has_it(tmp_path):
    assert manifest.check(entry_of(), tmp_path) == [f"{tmp_path / 'a.jsonl'} is missing"]
    (fault,) = manifest.check(manifest.asset("asdiv"), tmp_path)
    assert "asdiv/ASDiv.xml is missing; get it from github.com/chaochun/nlu-asdiv-dataset" in fault


def test_rows_are_counted_in_any_form_but_not_of_a_selection_of_ones_own(tmp_path):
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(b'{"a": 1}\n' * 3))
    assert "has 3 rows instead of 2" in manifest.check(entry_of(), tmp_path)[0]
    (tmp_path / "mmlu" / "auxiliary_train").mkdir(parents=True)
    (tmp_path / "mmlu" / "auxiliary_train" / "few.csv").write_text("q,a,b,c,d,A\n")
    assert manifest.check(manifest.asset("mmlu/auxiliary_train"), tmp_path, rehash=True) == []


def test_a_file_of_one_part_that_is_gone_is_missed(tmp_path):
    entry = manifest.asset("smoltalk/train")
    fill(tmp_path, [entry])
    (tmp_path / entry.files[2].path).unlink()
    assert any(fault == f"{tmp_path / entry.files[2].path} is missing" for fault in manifest.check(entry, tmp_path))


def test_a_bundle_without_its_index_is_missed_and_one_that_changed_is_seen(tmp_path):
    entry, folder = manifest.asset("eval_bundle"), tmp_path / "eval_bundle"
    (folder / "eval_data").mkdir(parents=True)
    (folder / "eval_data" / "x.jsonl").write_text("{}")
    assert manifest.check(entry, tmp_path) == [f"{folder / 'core.yaml'} is missing"]
    (folder / "core.yaml").write_text("tasks: []")
    assert manifest.check(entry, tmp_path) == []
    common.write_json(tmp_path / manifest.LOCK, {"eval_bundle": {"size": 11, "sha256": common.sha256(folder)}})
    assert manifest.check(entry, tmp_path, rehash=True) == []
    (folder / "eval_data" / "x.jsonl").write_text("[]")
    assert manifest.check(entry, tmp_path) == [] and "is not what was downloaded" in manifest.check(entry, tmp_path, rehash=True)[0]
    (folder / "eval_data" / "x.jsonl").unlink()
    assert "has 9 bytes instead of 11" in manifest.check(entry, tmp_path)[0]


def test_real_files_serve_as_a_data_directory(real_data):
    table = manifest.all_assets()
    for asset_id in ("gsm8k/train", "gsm8k/test", "arc/easy-test", "mmlu/test", "humaneval", "eval_bundle", "tokenizers/r50k_base"):
        assert absent(table[asset_id], real_data) == []
        assert verify(table[asset_id], real_data) == (1, [])
