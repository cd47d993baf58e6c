"""chat_cli: with -p only the answer on stdout, without it a conversation; every mistake is one sentence."""

import io
import json
import os
import pty
import select
import signal
import subprocess
import sys
import time

import pytest

from nanochat.train import checkpoint
from scripts import chat_cli

ENDLESS = 200_000  # tokens of context, so that an answer goes on until it is stopped


@pytest.fixture
def trained(base_dir, say, tokenizer):
    """trained("sft", "{assistant_start}Hi!{assistant_end}"): a checkpoint of a model that says so."""

    def make(source: str, *texts: str, tag: str = "", step: int = 1, **overrides):
        model = say(*texts, **overrides)
        tokenizer.save(base_dir / "tokenizer")
        checkpoint.save(checkpoint.SOURCES[source], tag, step, model, checkpoint.describe(model, tokenizer), {})

    return make


@pytest.fixture
def chat(monkeypatch, capsys):
    """chat("-p", "Hello") or chat(lines="one\\ntwo\\n"): (exit code, stdout, stderr)."""

    def run(*argv: str, lines: str = ""):
        monkeypatch.setattr("sys.stdin", io.StringIO(lines))
        code = chat_cli.main(list(argv))
        return code, *capsys.readouterr()

    return run


def test_one_question_prints_the_answer_and_nothing_else_on_stdout(trained, chat):
    trained("sft", "{assistant_start}Hi, du!{assistant_end}")
    code, out, err = chat("-p", "Hello?")
    assert (code, out) == (0, "Hi, du!\n") and "sft model chat_sft/default/step_000001" in err


def test_tool_calls_are_worked_out_and_not_shown(trained, chat):
    trained("mid", "{assistant_start}{python_start}6*7{python_end}", "{output_end}ok.{assistant_end}")
    assert chat("-p", "6*7?")[1] == "ok.\n"


def test_without_i_the_most_finished_model_answers(trained, chat):
    for source, said in (("base", "a."), ("mid", "mid!"), ("sft", "sft!")):
        trained(source, f"{{assistant_start}}{said}{{assistant_end}}")
        assert f"{source} model" in chat("-p", "aa")[2]
    assert chat("-p", "a", "-i", "mid")[1] == "mid!\n"


def test_tag_and_step_choose_the_checkpoint(trained, chat, base_dir):
    trained("mid", "{assistant_start}plain{assistant_end}", tag="plain")
    trained("mid", "{assistant_start}one{assistant_end}", step=1)
    trained("mid", "{assistant_start}two{assistant_end}", step=2)
    assert [chat("-p", "?", *more)[1] for more in ((), ("-s", "1"), ("-g", "plain"))] == ["two\n", "one\n", "plain\n"]
    assert "no checkpoint of 'mid'" in chat("-p", "?", "-i", "mid", "-s", "best")[2]
    for step, value in ((1, 0.5), (2, 0.7)):
        meta = base_dir / f"checkpoints/mid_train/default/step_{step:06d}/meta.json"
        score = {"metric": "val_loss", "better": "lower", "value": value}
        meta.write_text(json.dumps({**json.loads(meta.read_text()), "score": score}))
    assert chat("-p", "?", "-s", "best")[1] == "one\n"


def test_base_continues_the_text(trained, chat):
    trained("base", "the sky{bos}")
    assert chat("-i", "base", "-p", "th")[1] == "e sky\n"
    assert chat("-i", "base", lines="th\nsk\n")[1] == "e sky\ny\n"


def test_piped_lines_get_an_answer_each(trained, chat):
    trained("sft", "{assistant_start}Hi!{assistant_end}")
    code, out, err = chat(lines="one\n\ntwo\n/reset\nthree\n/help\n/hlep\n/quit\nnever\n")
    assert (code, out) == (0, "Hi!\n" * 3)
    assert "(a new conversation)" in err and "did you mean '/help'" in err and "Ctrl-C" in err
    assert chat(lines="one\nEXIT\ntwo")[1] == "Hi!\n" and chat(lines="one")[1] == "Hi!\n" and chat(lines="")[1] == ""


def test_a_conversation_longer_than_the_context_goes_on_with_a_notice(trained, chat):
    trained("sft", "{assistant_start}Hi!{assistant_end}", sequence_len=48)
    code, out, err = chat(lines="a question of some length\n" * 4 + "x" * 500 + "\n")
    assert (code, out) == (0, "Hi!\n" * 5)
    assert "forgotten, to stay within the model's 48 tokens" in err and "its beginning was left out" in err


def test_history_is_part_of_the_next_prompt(trained, chat, monkeypatch):
    from nanochat.infer.engine import Engine

    trained("sft", "{assistant_start}Hi!{assistant_end}")
    prompts, stream = [], Engine.stream
    monkeypatch.setattr(Engine, "stream", lambda self, ids, *rest: prompts.append(self.tokenizer.decode(ids)) or stream(self, ids, *rest))
    chat(lines="one\ntwo\n/reset\nthree\n")
    first = "<|bos|><|user_start|>one<|user_end|><|assistant_start|>"
    assert prompts[:2] == [first, first + "Hi!<|assistant_end|><|user_start|>two<|user_end|><|assistant_start|>"]
    assert prompts[2] == first.replace("one", "three")


def test_an_answer_is_as_varied_as_asked_and_repeats_with_its_seed(trained, chat):
    trained("sft", "{assistant_start}abc{assistant_end}")
    varied = ("-p", "?", "-t", "1000", "-k", "0", "--max_tokens", "30")
    assert chat(*varied)[1] == chat(*varied)[1] != chat(*varied, "--seed", "1")[1]
    assert chat("-p", "?")[1] == chat("-p", "?", "-t", "1000", "-k", "1")[1] == "abc\n"


@pytest.mark.parametrize("text", ["none", "auto", "-5+3", "--help", "a=b", "\udcff\udce4", "naïve ✓ 漢字", "<|bos|><|assistant_end|>"])
def test_any_text_can_be_asked(trained, chat, text):
    trained("sft", "{assistant_start}Hi!{assistant_end}")
    assert chat("-p", text)[:2] == (0, "Hi!\n") and chat(f"--prompt={text}")[1] == "Hi!\n"


def test_an_empty_answer_is_an_empty_line_and_a_notice(trained, chat):
    trained("sft", "{assistant_start}{assistant_end}")
    code, out, err = chat("-p", "?")
    assert (code, out) == (0, "\n") and "answer is empty" in err
    assert chat(lines="?\n?\n")[1] == "\n\n"


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [("--promt=hi", "did you mean '--prompt'"), ("-z", "unknown option '-z'"), ("-p=", "prompt is empty"), ("-p= \t", "prompt is empty"),
     ("-p", "-p needs a question"), ("-i=sfft", "did you mean 'sft'"), ("-t=-1", "0 or a positive number"), ("-t=nan", "must be a number"),
     ("-t=warm", "must be a number"), ("-k=-2", "0 (all tokens) or more"), ("--max_tokens=0", "at least 1"), ("-s=x", "whole number"),
     ("What is 2 + 2?", "a question goes after -p"), ("-p=a", "there is no trained model in"), ("-i=mid", "python -m scripts.mid_train"),
     ("--model_tag=plain", "there is no trained model")],
)  # fmt: skip
def test_a_mistake_is_answered_with_one_sentence(chat, argv, sentence):
    code, out, err = chat(argv)
    assert (code, out) == (2, "") and sentence in err and len(err.strip().splitlines()) == 1 and "Traceback" not in err


def test_a_missing_tag_or_step_names_what_there_is(trained, chat):
    trained("sft", "{assistant_start}Hi!{assistant_end}")
    for more in (("-g", "plain"), ("-s", "7"), ("-i", "sft", "-s", "7")):
        code, _, err = chat("-p", "?", *more)
        assert code == 2 and "chat_sft/default/step_000001" in err


def test_a_damaged_model_is_walked_past(trained, chat, base_dir):
    trained("mid", "{assistant_start}mid!{assistant_end}")
    trained("sft", "{assistant_start}sft!{assistant_end}")
    with open(base_dir / "checkpoints/chat_sft/default/step_000001/model.safetensors", "r+b") as f:
        f.write(b"damage")
    code, out, err = chat("-p", "?")
    assert (code, out) == (0, "mid!\n") and "is damaged" in err and "no checkpoint of sft can be used; answering with mid" in err


# ---------------------------------------------------------------------------------------------------------------------
# As a program of its own


def command(*argv: str) -> list[str]:
    return [sys.executable, "-m", "scripts.chat_cli", *argv]


def test_mistakes_are_answered_before_torch_is_imported(repository):
    code = (
        "import sys; from scripts.chat_cli import main; main(['--promt']); main(['-p', '']); main(['-t=-1']); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=repository, capture_output=True, text=True)
    assert done.stdout == "False\n" and len(done.stderr.splitlines()) == 3


def test_it_needs_neither_wandb_nor_datasets_nor_pyarrow(trained, repository):
    trained("sft", "{assistant_start}Hi!{assistant_end}")
    blocked = "import sys; sys.modules.update(dict.fromkeys(('wandb', 'datasets', 'pyarrow', 'rustbpe'))); "
    code = blocked + "from scripts.chat_cli import main; raise SystemExit(main(['-p', 'Hello']))"
    done = subprocess.run([sys.executable, "-c", code], cwd=repository, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert (done.returncode, done.stdout) == (0, "Hi!\n"), done.stderr


def test_a_full_disk_behind_stdout_is_one_sentence(trained, repository):
    trained("sft", "{assistant_start}Hi!{assistant_end}")
    with open("/dev/full", "w") as full:
        done = subprocess.run(command("-p", "?"), cwd=repository, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1 and "could not be written: No space left on device" in done.stderr
    assert "Traceback" not in done.stderr and "Exception" not in done.stderr


def test_nobody_listening_is_no_traceback(trained, repository):
    trained("sft", "{assistant_start}Hi!{assistant_end}")
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(command("-p", "?"), cwd=repository, stdout=writer, stderr=subprocess.PIPE, text=True)
    os.close(writer)
    assert done.returncode == 1 and "Traceback" not in done.stderr and "Exception" not in done.stderr


class Terminal:
    """A program on a terminal of its own; what it shows, and keys."""

    def __init__(self, argv, cwd):
        self.shown = ""
        self.process, self.fd = pty.fork()
        if self.process == 0:
            os.chdir(cwd)
            os.execv(argv[0], argv)

    def until(self, text: str, seconds: float = 60.0) -> str:
        """Reads until `text` is shown; everything shown since the last call."""
        end = time.monotonic() + seconds
        while text not in self.shown:
            assert time.monotonic() < end, f"{text!r} was never shown: {self.shown[-500:]!r}"
            if select.select([self.fd], [], [], 0.2)[0]:
                self.shown += os.read(self.fd, 4096).decode(errors="replace")
        at = self.shown.index(text) + len(text)
        seen, self.shown = self.shown[:at], self.shown[at:]
        return seen

    def type(self, text: str) -> None:
        time.sleep(0.3)  # a key pressed between the prompt and the first wait for keys would be seen with the next one only
        os.write(self.fd, text.encode())

    def exit_code(self) -> int:
        return os.waitstatus_to_exitcode(os.waitpid(self.process, 0)[1])


def test_a_person_at_a_terminal_can_talk_stop_an_answer_and_leave(trained, repository):
    trained("sft", "{assistant_start}abcd", "dcba", "da", "ab", sequence_len=ENDLESS)  # goes round for ever
    terminal = Terminal(command("--max_tokens=100000", "-t=0"), repository)
    try:
        terminal.until("Ctrl-D leaves.")
        terminal.until("> ")
        terminal.type("hello\n")
        terminal.until("abab")
        terminal.type("\x03")
        terminal.until("(stopped)")
        terminal.until("> ")
        terminal.type("\x03")
        terminal.until("(/quit or Ctrl-D leaves)")
        terminal.until("> ")
        terminal.type("/help\n")
        terminal.until("forget the conversation")
        terminal.type("\x04")
        assert terminal.exit_code() == 0
    except BaseException:
        os.kill(terminal.process, signal.SIGKILL)
        raise
