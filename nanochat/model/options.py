"""What a stage or a benchmark lets people choose about a GPT: one dial for its size, and a switch for each part that is not GPT-2's."""

from dataclasses import dataclass

from nanochat.config import option
from nanochat.model.gpt import GPTConfig
from nanochat.model.presets import make_config


@dataclass
class ModelOptions:
    """Mixed into a configuration."""

    depth: int = option(12, "number of layers", "layers")
    aspect_ratio: int = option(64, "width of the model per layer, rounded up to whole heads")
    head_dim: int = option(128, "width of an attention head")
    sequence_len: int = option(2048, "context", "tokens")
    value_embeddings: bool = option(True, "add value embeddings in every second layer")
    layer_scales: bool = option(True, "learned scales of the residual stream and of what entered it, in each layer")
    smear: bool = option(True, "add some of the embedding of the token before")
    backout: bool = option(True, "take some of the middle layer's output out of the last one's")
    qk_scale: float = option(1.2, "length of normalised queries and keys")
    logit_softcap: float = option(15.0, "logits stay below; 0: no limit")
    window_pattern: str = option("L", "a letter per layer, repeated: S sees a quarter of the context, L all; the last layer always L")


FIELDS = [name for name in ModelOptions.__dataclass_fields__ if name != "depth"]


def model_config(options: ModelOptions, vocab_size: int) -> GPTConfig:
    """The model that was chosen; UserError for sizes that do not fit together."""
    return make_config(options.depth, vocab_size=vocab_size, **{name: getattr(options, name) for name in FIELDS})
