"""Tokens to the text that a person reads, while they arrive."""

import codecs

TOOL_SPANS = {"<|python_start|>": "<|python_end|>", "<|output_start|>": "<|output_end|>"}


class TextStream:
    """Turns tokens into text one at a time. A character whose bytes are spread over several tokens appears with the last of
    them; special tokens, tool calls and tool outputs do not appear.

        stream = TextStream(tokenizer)
        for token in engine.stream(prompt):
            print(stream.put(token), end="", flush=True)
        print(stream.end())
    """

    def __init__(self, tokenizer):
        self.tokenizer = tokenizer
        self.decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self.spans = {tokenizer.special(a): tokenizer.special(b) for a, b in TOOL_SPANS.items()}
        self.hidden_until: int | None = None

    def put(self, token: int) -> str:
        """The text that `token` completes; often its own, "" for a part of a character."""
        if self.hidden_until is not None:
            if token == self.hidden_until:
                self.hidden_until = None
            return ""
        if token in self.spans:
            self.hidden_until = self.spans[token]
            return ""
        if self.tokenizer.token_bytes[token] == 0:
            return ""
        return self.decoder.decode(self.tokenizer.decode_bytes([token]))

    def end(self) -> str:
        """What is left: U+FFFD if the tokens ended inside a character, else ""."""
        return self.decoder.decode(b"", final=True)


def visible_text(tokenizer, tokens) -> str:
    """All of `tokens` as a person would read them."""
    stream = TextStream(tokenizer)
    return "".join(map(stream.put, tokens)) + stream.end()
