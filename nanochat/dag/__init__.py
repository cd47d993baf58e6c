"""The differentiable DAG: reading numbers, planning arithmetic, executing it exactly, printing the result.

`build_branch` makes the branch of a checkpoint again; `attach_branch` plugs a pretrained tower into a GPT. Both import lazily.
"""

from nanochat.common import UserError


def build_branch(branch_config: dict, tokenizer):
    """The branch (with fresh weights) described by a checkpoint's `branch_config`."""
    from nanochat.dag.mixer import BranchConfig, DagBranch

    return DagBranch(BranchConfig.from_dict(branch_config), tokenizer)


def build_predictor(meta: dict, tokenizer):
    """The model (with fresh weights) described by the meta.json of a `dag_train` checkpoint: its variant and its shape."""
    from nanochat.dag.predictor import TowerConfig
    from nanochat.dag.variants import VARIANTS, variant_of

    return VARIANTS[variant_of(meta)].model(TowerConfig(**meta["model_config"]), tokenizer)


def attach_branch(model, predictor, tokenizer, **options):
    """Plugs the tower of a trained PredictorOnlyModel into `model`, two thirds up; both compute as they did before.

    UserError for a tower with a learned reader.
    """
    from nanochat.dag.mixer import BranchConfig, DagBranch

    if predictor.tower.config.reader != "exact":
        raise UserError("this tower was trained with --reader=learned; only one that reads exactly can be plugged into a GPT")
    layer = max(0, round(2 * model.config.n_layer / 3) - 1)
    config = BranchConfig(tower=predictor.tower.config, input_width=model.config.n_embd, layer=layer, **options)
    branch = DagBranch(config, tokenizer)
    missing, unexpected = branch.tower.load_state_dict(predictor.tower.state_dict(), strict=False)
    assert not unexpected and missing == ["from_model.weight"], (missing, unexpected)
    model.attach(branch)
    return branch
