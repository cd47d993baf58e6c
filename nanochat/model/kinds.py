"""What kind of parameter each one is: the optimizer chooses rule and learning rate by kind.

matrix            2-D weights of linear maps            Muon
embedding         rows looked up by token               AdamW
value_embedding   the same, added to attention values   AdamW
head              the map onto the vocabulary           AdamW
residual          scale of the residual stream, a layer AdamW
skip              share of the first layer's input      AdamW
gate              smear and backout                     AdamW
scalar            everything else: biases, scales       AdamW
tower             of a branch, trained before it came   AdamW, gently
"""

import torch.nn as nn

KINDS = ("matrix", "embedding", "value_embedding", "head", "residual", "skip", "gate", "scalar", "tower")


def parameter_kinds(module: nn.Module) -> dict[str, str]:
    """Parameter name -> kind, for every parameter.

    A module with a method `parameter_kinds` speaks for itself. In others 2-D weights of linear maps are matrices, embedding
    tables are embeddings, and the rest are scalars.
    """
    if hasattr(module, "parameter_kinds"):
        kinds = module.parameter_kinds()
    else:
        kinds = by_structure(module)
    unknown = sorted(set(kinds.values()) - set(KINDS))
    assert not unknown and kinds.keys() == dict(module.named_parameters()).keys(), (unknown, kinds.keys())
    return kinds


def by_structure(module: nn.Module) -> dict[str, str]:
    """Kinds told from the types of the modules that own the parameters."""
    kinds = {name: "scalar" for name, _ in module.named_parameters()}
    for prefix, part in module.named_modules():
        kind = {nn.Linear: "matrix", nn.Embedding: "embedding"}
        for type_, name in kind.items():
            key = f"{prefix}.weight" if prefix else "weight"
            if isinstance(part, type_) and key in kinds:
                kinds[key] = name
    return kinds
