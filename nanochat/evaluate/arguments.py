"""What the evaluation scripts' command lines share: `-i sft`, and a tag that follows from the model evaluated."""


def option_value(words: list[str], key: str) -> str | None:
    """The value of `--key=value`, `key=value` or `--key value` on a command line, None if the key is not there."""
    for i, word in enumerate(words):
        name, equals, text = word.partition("=")
        if name.lstrip("-").replace("-", "_") == key and (equals or name.startswith("-")):
            return text if equals else next(iter(words[i + 1 : i + 2]), None)
    return None


def spell_out(words: list[str], default_source: str) -> list[str]:
    """`-i X` as `--source=X`; without a tag, the model's tag or source becomes that of the results."""
    words, spelled = list(words), []
    while words:
        word = words.pop(0)
        spelled.append(f"--source={words.pop(0) if words else ''}" if word == "-i" else word)  # no name: parsing names the legal ones
    if option_value(spelled, "tag") is None and not {"-h", "--help"} & set(spelled):
        source = option_value(spelled, "source")
        source = default_source if source is None else source
        spelled += [f"--source={source}", f"--tag={option_value(spelled, 'model_tag') or source}"]
    return spelled
