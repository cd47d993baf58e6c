"""Chat with a trained model in the terminal.

    python -m scripts.chat_cli                                  # a conversation with the newest model there is
    python -m scripts.chat_cli -p "What is 12 plus 30 times 2?"    # one question; only the answer on stdout
    python -m scripts.chat_cli -i base -p "The sun is"             # the base model does not chat: it continues the text
    printf 'Hello.\\nWhat is 3 + 4?\\n' | python -m scripts.chat_cli   # a line in, an answer out

Logs and notices go to stderr. In a conversation: /help, /reset, /quit (also exit, quit, Ctrl-D); Ctrl-C ends an answer, not
the program. A single question is answered with the likeliest tokens (temperature 0), so that it has the same answer every
time; a conversation draws at temperature 0.6 from the 50 likeliest tokens.
"""

import contextlib
import os
import shlex
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass

from nanochat import common
from nanochat.common import UserError, derive_seed
from nanochat.config import nearest, option, parse

PREFERRED = ("rl", "sft", "mid", "base")  # the first of these that has a checkpoint is chatted with
CONVERSATION_TEMPERATURE, CONVERSATION_TOP_K = 0.6, 50
HELP = """/reset   forget the conversation and begin a new one
/help    this list
/quit    leave (also: exit, quit, Ctrl-D)
Ctrl-C   end the answer that is being written"""


@dataclass
class Config:
    """The command line. `parse` checks it before torch is imported, so that a mistake is answered at once."""

    source: str = option(
        "auto", "which model; auto is the first of rl, sft, mid, base that is there", choices=("auto", *PREFERRED), short="i"
    )
    prompt: str | None = option(None, "one question (for base: the beginning of a text); without it a conversation", short="p")
    temperature: float | None = option(
        None, "0: the likeliest token each time; higher: more varied; none: 0 with -p, 0.6 in a conversation", short="t"
    )
    top_k: int | None = option(None, "draw from so many of the likeliest tokens, 0 from all; none: 50", short="k")
    max_tokens: int = option(256, "longest answer", unit="tokens")
    model_tag: str = option("", "tag of the training run, for example plain; default: the one without", short="g")
    step: str | None = option(None, "training step of the checkpoint, or best: the best evaluated; default: the newest", short="s")
    seed: int = option(0, "seed of the random draws")
    device: str = option("auto", "where to compute", choices=("auto", "cpu", "cuda", "mps"))


def main(argv: list[str] | None = None) -> int:
    """Runs the program; its exit code: 0 fine, 1 output could not be written, 2 wrong usage or no model, 130 Ctrl-C."""
    try:
        config = checked(_parse(argv))
        common.stay_home()
        speaker = load(config)
        single = config.prompt is not None
        return answer_once(speaker, config.prompt) if single else converse(speaker)
    except UserError as error:
        common.say(f"chat_cli: {error}")
        return 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        _drop_stdout()
        return 1
    except OSError as error:
        _drop_stdout()
        common.say(f"chat_cli: the answer could not be written: {error.strerror or error}")
        return 1


def _parse(argv: list[str] | None) -> Config:
    """As every script's options; but text given with -p is text, also if it is empty or reads "none"."""
    argv = list(sys.argv[1:] if argv is None else argv)
    if len(argv) == 1 and argv[0][:1] not in ("-", ""):
        raise UserError(f"a question goes after -p: python -m scripts.chat_cli -p {shlex.quote(argv[0])}")
    for i, word in enumerate(argv):
        name, equals, text = word.partition("=")
        if name in ("-p", "--prompt"):
            if not equals and i + 1 == len(argv):
                raise UserError("-p needs a question; leave it out for a conversation")
            text, rest = (text, argv[i + 1 :]) if equals else (argv[i + 1], argv[i + 2 :])
            config = parse(Config, "chat_cli", argv[:i] + rest)
            config.prompt = text
            return config
    return parse(Config, "chat_cli", argv)


def checked(config: Config) -> Config:
    """The configuration with its defaults filled in; UserError if a value makes no sense."""
    single = config.prompt is not None
    if config.temperature is None:
        config.temperature = 0.0 if single else CONVERSATION_TEMPERATURE
    if config.top_k is None:
        config.top_k = CONVERSATION_TOP_K
    if single and not config.prompt.strip():
        raise UserError("the prompt is empty; give a question with -p, or leave -p out for a conversation")
    if config.temperature < 0:
        raise UserError(f"--temperature must be 0 or a positive number, not {config.temperature}")
    if config.top_k < 0:
        raise UserError(f"--top_k must be 0 (all tokens) or more, not {config.top_k}")
    if config.max_tokens < 1:
        raise UserError(f"--max_tokens must be at least 1, not {config.max_tokens}")
    if config.step not in (None, "best"):
        if not config.step.isdecimal():
            raise UserError(f"--step must be a whole number, or best, not '{config.step}'")
        config.step = int(config.step)
    return config


def load(config: Config) -> "Speaker":
    """The chosen model, ready to speak; says on stderr which one it is."""
    from nanochat.infer.engine import Engine
    from nanochat.train import checkpoint

    source = choose_source(config, checkpoint)
    compute = common.start_compute(config.device)
    model, tokenizer, meta = checkpoint.load_model(source, config.model_tag, config.step, compute.device)
    common.say(f"{source} model {meta['id']}, {sum(p.numel() for p in model.parameters()):,} parameters, on {compute.device}")
    kind = Continuation if source == "base" else Chat
    return kind(Engine(model, tokenizer), config)


def choose_source(config: Config, checkpoint) -> str:
    """The source asked for, else the first of PREFERRED that has such a checkpoint."""
    if config.source != "auto":
        return config.source
    passed = []
    for source in PREFERRED:
        with contextlib.suppress(UserError):
            checkpoint.find(source, config.model_tag, config.step)
            if passed:
                common.say(f"chat_cli: no checkpoint of {' or '.join(passed)} can be used; answering with {source}")
            return source
        if checkpoint.folder_of(checkpoint.SOURCES[source], config.model_tag).is_dir():
            passed.append(source)
    there = checkpoint.existing()
    if not there:
        raise UserError(f"there is no trained model in {common.base_dir()}; make one with `bash speedrun.sh`")
    wanted = " ".join(f"--{k}={v}" for k, v in (("model_tag", config.model_tag), ("step", config.step)) if v not in ("", None))
    raise UserError(f"there is no model to chat with{f' for {wanted}' if wanted else ''}; checkpoints there are: {', '.join(there)}")


# ---------------------------------------------------------------------------------------------------------------------
# Who speaks


class Speaker:
    """A model with the settings of its answers. `answer(text)` yields the pieces of the answer as they come."""

    def __init__(self, engine, config: Config):
        self.engine, self.config, self.answers = engine, config, 0

    def write(self, ids: list[int]) -> Iterator[str]:
        """The visible text that follows `ids`, piece by piece. Every answer draws from a random stream of its own."""
        from nanochat.infer.text import TextStream

        c, text = self.config, TextStream(self.engine.tokenizer)
        self.answers += 1
        seed = derive_seed(c.seed, "answer", self.answers)
        for token in self.engine.stream(ids, c.max_tokens, c.temperature, c.top_k, seed):
            yield text.put(token)
        yield text.end()

    def reset(self) -> None:
        """Forgets what was said."""


class Continuation(Speaker):
    """The base model: goes on from a text, and remembers nothing."""

    greeting = "The base model continues what you type; it does not chat."

    def answer(self, text: str) -> Iterator[str]:
        ids = [self.engine.tokenizer.bos_id, *self.engine.tokenizer.encode(text)]
        if len(ids) >= self.engine.context:
            common.say(f"(the text is longer than the model's {self.engine.context} tokens; its beginning was left out)")
        yield from self.write(ids)


class Chat(Speaker):
    """A chat model, with the conversation so far."""

    greeting = "Type a question."

    def __init__(self, engine, config: Config):
        from nanochat.infer.dialogue import Dialogue

        super().__init__(engine, config)
        self.dialogue = Dialogue(engine.tokenizer, engine.context, room=min(config.max_tokens, engine.context // 4))

    def answer(self, text: str) -> Iterator[str]:
        ids, notice = self.dialogue.ask(text)
        if notice:
            common.say(f"({notice})")
        said = ""
        try:
            for piece in self.write(ids):
                piece = piece if said else piece.lstrip()
                said += piece
                yield piece
        finally:  # also when the answer is cut short from the keyboard
            self.dialogue.answered(said.strip()) if said.strip() else self.dialogue.withdraw()

    def reset(self) -> None:
        self.dialogue.reset()


# ---------------------------------------------------------------------------------------------------------------------
# Two ways of talking


def answer_once(speaker: Speaker, prompt: str) -> int:
    """Prints the answer and nothing else on stdout."""
    answer = "".join(speaker.answer(_clean(prompt))).rstrip()
    if not answer:
        common.say("(the model's answer is empty)")
    _write(answer + "\n")
    return 0


def converse(speaker: Speaker) -> int:
    """Question and answer until the end of stdin or /quit."""
    person = sys.stdin.isatty()
    if person:
        with contextlib.suppress(ImportError):
            import readline  # noqa: F401  arrow keys and earlier questions, in input()
        common.say(f"{speaker.greeting} /help lists the commands, Ctrl-D leaves.")
    elif hasattr(sys.stdin, "reconfigure"):
        sys.stdin.reconfigure(errors="replace")
    while True:
        try:
            if not _turn(speaker, person):
                return 0
        except KeyboardInterrupt:
            if not person:
                raise
            common.say("\n(/quit or Ctrl-D leaves)")


def _turn(speaker: Speaker, person: bool) -> bool:
    """One line of input and what follows from it; False at the end of the conversation."""
    try:
        text = _clean(_read(person)).strip()
    except EOFError:
        if person:
            common.say("")
        return False
    if text.lower() in ("/quit", "/exit", "exit", "quit"):
        return False
    if text.startswith("/"):
        _command(speaker, text)
    elif text:
        _reply(speaker, text, person)
    return True


def _read(person: bool) -> str:
    """A line of input. The prompt sign must not be in a file that stdout goes to."""
    if person and sys.stdout.isatty():
        return input("> ")
    if person:
        print("> ", end="", file=sys.stderr, flush=True)
    return input()


def _command(speaker: Speaker, text: str) -> None:
    if text == "/help":
        common.say(HELP)
    elif text == "/reset":
        speaker.reset()
        common.say("(a new conversation)")
    else:
        name = text.split()[0]
        common.say(f"unknown command '{name}'{nearest(name, ('/help', '/reset', '/quit'))}; /help lists the commands")


def _reply(speaker: Speaker, text: str, person: bool) -> None:
    """Streams an answer to stdout, one line break at its end; a person's Ctrl-C ends it after the token in the making."""
    said, pieces = "", speaker.answer(text)
    with _ctrl_c_noted() if person else contextlib.nullcontext([]) as ctrl_c:
        for piece in pieces:
            said += piece
            _write(piece)
            if ctrl_c:
                pieces.close()
                common.say(" (stopped)")
                break
    if not said.strip() and not ctrl_c:
        common.say("(the model's answer is empty)")
    _write("" if said.endswith("\n") else "\n")


@contextlib.contextmanager
def _ctrl_c_noted() -> Iterator[list]:
    """A list that is no longer empty after Ctrl-C. An exception in the middle of a library could be lost; a second Ctrl-C raises it."""
    noted = []

    def note(number, frame):
        if noted:
            raise KeyboardInterrupt
        noted.append(number)

    before = signal.signal(signal.SIGINT, note)
    try:
        yield noted
    finally:
        signal.signal(signal.SIGINT, before)


def _write(text: str) -> None:
    """To stdout at once; a character that the terminal's encoding does not have becomes a question mark."""
    encoding = sys.stdout.encoding or "utf-8"
    sys.stdout.write(text.encode(encoding, "replace").decode(encoding))
    sys.stdout.flush()


def _clean(text: str) -> str:
    """Without the lone surrogates that stand for bytes that are not UTF-8."""
    return text.encode("utf-8", "surrogatepass").decode("utf-8", "replace")


def _drop_stdout() -> None:
    """Nobody reads stdout any more: keeps Python from complaining when it flushes at exit."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    raise SystemExit(main())
