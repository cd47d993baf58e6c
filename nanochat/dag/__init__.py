"""The differentiable DAG: reading numbers, planning arithmetic, executing it exactly, printing the result.

`build_branch` makes the branch of a checkpoint again; `attach_branch` plugs a pretrained tower into a GPT. Both import lazily.
"""


def build_branch(branch_config: dict, tokenizer):
    """The branch (with fresh weights) described by a checkpoint's `branch_config`."""
    from nanochat.dag.mixer import BranchConfig, DagBranch

    return DagBranch(BranchConfig.from_dict(branch_config), tokenizer)


def build_tower(tower_config: dict, tokenizer):
    """The PredictorOnlyModel (with fresh weights) described by a `dag_train` checkpoint's `model_config`."""
    from nanochat.dag.predictor import PredictorOnlyModel, TowerConfig

    return PredictorOnlyModel(TowerConfig(**tower_config), tokenizer)


def attach_branch(model, predictor, tokenizer, **options):
    """Plugs the tower of a trained PredictorOnlyModel into `model`, two thirds up; both compute as they did before."""
    from nanochat.dag.mixer import BranchConfig, DagBranch

    layer = max(0, round(2 * model.config.n_layer / 3) - 1)
    config = BranchConfig(tower=predictor.tower.config, input_width=model.config.n_embd, layer=layer, **options)
    branch = DagBranch(config, tokenizer)
    missing, unexpected = branch.tower.load_state_dict(predictor.tower.state_dict(), strict=False)
    assert not unexpected and missing == ["from_model.weight"], (missing, unexpected)
    model.attach(branch)
    return branch
