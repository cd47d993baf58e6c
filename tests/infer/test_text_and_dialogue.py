"""Streamed text is whole characters and nothing internal; a conversation fits the model's context, whatever is typed."""

from hypothesis import given, settings
from hypothesis import strategies as st

from nanochat.data.conversations import render_prompt
from nanochat.data.tokenizer import Tokenizer
from nanochat.infer.dialogue import Dialogue
from nanochat.infer.engine import Engine
from nanochat.infer.text import TextStream, visible_text
from tests.infer.conftest import tokens

BYTES = Tokenizer({bytes([i]): i for i in range(256)})


@given(st.text())
def test_streamed_pieces_make_the_text_and_none_is_a_broken_character(text):
    stream = TextStream(BYTES)
    pieces = [stream.put(token) for token in BYTES.encode(text)]
    assert "".join(pieces) == text and stream.end() == ""
    assert all(len(piece) <= 1 for piece in pieces)


def test_a_character_appears_with_its_last_byte_and_a_cut_one_is_marked():
    stream = TextStream(BYTES)
    assert [stream.put(b) for b in "é€".encode()] == ["", "é", "", "", "€"]
    assert (stream.put(0xE2), stream.end()) == ("", "\ufffd")


@given(st.lists(st.integers(0, 264), max_size=40))
def test_any_tokens_at_all_make_text(ids):
    assert isinstance(visible_text(BYTES, ids), str)


def test_special_tokens_and_tool_spans_are_not_seen():
    text = "so {python_start}6*7{python_end}{output_start}42{output_end}it is 42{assistant_end}"
    assert visible_text(BYTES, tokens(BYTES, text)) == "so it is 42"


# ---------------------------------------------------------------------------------------------------------------------


def asked(*questions, context=200, room=40):
    """A dialogue after some questions, each answered with "fine", and what the last one gave."""
    dialogue = Dialogue(BYTES, context, room)
    for question in questions:
        ids, notice = dialogue.ask(question)
        dialogue.answered("fine")
    return dialogue, ids, notice


def test_the_prompt_is_the_conversation_so_far():
    _, ids, notice = asked("one", "two")
    turns = [{"role": "user", "content": "one"}, {"role": "assistant", "content": "fine"}, {"role": "user", "content": "two"}]
    assert ids == render_prompt(BYTES, {"messages": turns}) and notice is None


def test_the_oldest_turns_are_forgotten_with_a_notice():
    dialogue, ids, notice = asked("a" * 60, "b" * 60, "c" * 60, "d" * 60)
    assert notice == "the oldest turn was forgotten, to stay within the model's 200 tokens"
    assert ids == render_prompt(BYTES, {"messages": dialogue.messages[:-1]}) and len(ids) <= 160
    assert [m["content"][0] for m in dialogue.messages] == ["c", "f", "d", "f"]
    assert asked("a" * 60, "b" * 60, "c" * 140)[2].startswith("the 2 oldest turns were forgotten")


@settings(max_examples=25)
@given(st.lists(st.text(max_size=60), min_size=1, max_size=5), st.integers(4, 120))
def test_every_prompt_leaves_room_for_an_answer_and_nothing_is_left_out_in_silence(questions, context):
    dialogue = Dialogue(BYTES, context, room=context // 4)
    for question in questions:
        everything = [*dialogue.messages, {"role": "user", "content": question}]
        ids, notice = dialogue.ask(question)
        dialogue.answered("fine")
        assert ids[0] == BYTES.bos_id and ids[-1] == BYTES.special("<|assistant_start|>") and len(ids) <= context - context // 4
        assert (notice is None) == (ids == render_prompt(BYTES, {"messages": everything}))


def test_a_question_longer_than_the_context_loses_its_beginning_with_a_notice():
    _, ids, notice = asked("x" * 500 + "end")
    assert "its beginning was left out" in notice and BYTES.decode(ids).endswith("xend<|user_end|><|assistant_start|>")


def test_an_unanswered_question_can_be_taken_back_and_all_be_forgotten():
    dialogue, _, _ = asked("one")
    dialogue.ask("two")
    dialogue.withdraw()
    assert len(dialogue.messages) == 2
    dialogue.reset()
    assert dialogue.messages == []


def test_a_long_conversation_never_stops_the_engine(say):
    model = say("{assistant_start}yes!{assistant_end}", sequence_len=64)
    engine, dialogue = Engine(model, BYTES), Dialogue(BYTES, 64, 16)
    for turn in range(30):
        answer = visible_text(BYTES, engine.stream(dialogue.ask("question " * (turn % 11))[0]))
        dialogue.answered(answer)
        assert answer == "yes!"
