"""Forecast and fact side by side in the report."""

from nanochat.pipeline import forecast, plan, throughput
from nanochat.report import foresight


def rows(results) -> dict:
    lines = [line.split("|")[1:-1] for line in foresight.section(results).splitlines() if line.startswith("| `")]
    return {line[0].strip().strip("`"): [cell.strip() for cell in line[1:]] for line in lines}


def train(run, seconds: float, state: str = "done") -> None:
    run.stage("base_train", seconds=seconds, state=state, config={"profile": "embedded", "tokens": 1_500_000})


def test_a_finished_stage_stands_beside_its_forecast(run):
    train(run, 140.0)
    (found,) = rows(run.collect()).items()
    label, (said, between, took, ratio, basis) = found
    assert label == "base_train" and took == "2 min 20 s" and basis == "rates" and "–" in between and said
    assert 0.5 < float(ratio) < 2
    assert "1 of 1 lay within their intervals" in foresight.section(run.collect())


def test_what_took_longer_than_the_interval_is_marked(run):
    train(run, 5000.0)
    assert rows(run.collect())["base_train"][2] == "1 h 23 min (outside)"
    assert "0 of 1 lay within" in foresight.section(run.collect())


def test_the_forecast_is_that_of_before_the_stage_and_the_next_one_rests_on_it(run):
    train(run, 5000.0)
    forecast.learn("embedded", plan.make_plan("embedded", processes=1))
    assert rows(run.collect())["base_train"][4] == "rates", "what a stage took is no forecast of itself"
    assert [entry.seconds for entry in throughput.measured()] == [5000.0]
    train(run, 5100.0)
    said, between, took, ratio, basis = rows(run.collect())["base_train"]
    assert (said, took, ratio, basis) == ("1 h 23 min", "1 h 25 min", "1.02", "measured")


def test_a_stage_that_went_on_from_a_checkpoint_is_no_measurement(run):
    train(run, 30.0, state="interrupted")
    train(run, 20.0)
    assert "No stage that was done at one go" in foresight.section(run.collect())


def test_a_profile_that_is_gone_spoils_no_report(run):
    results = run.collect()
    object.__setattr__(results, "profile", "gone")
    assert foresight.section(results).startswith("The forecast cannot be compared: there is no profile")
