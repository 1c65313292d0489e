"""Every error message of the source names what is wrong and what to type instead: see tests/messages.py."""

import re
from pathlib import Path

import pytest
from messages import Message, messages

REFUSALS = {
    "InvalidNameError",
    "MlxpyError",
    "QueryError",
    "SubmissionError",
    "UnstorableValueError",
    "UsageError",
}
"""Kinds that say what to type instead; of the others some say what has happened."""
WHAT_TO_DO = re.compile(
    r"""(^|[\s(,:;])(
        add|ask|call|cancel|change|choose|clone|close|commit|derive|do\ so|draw|end|fetch|get|give|have|install|keep|
        leave|load|log_artifact|look|make|mend|move|name|pip\ install|plot|put|register|remove|rename|resolve|retry|
        return|run|save|set|sort|start|submit|tries|type|uninstall|wait|write|
        as\ in|such\ as|did\ you\ mean|they\ are|valid\ here|must\ hold\ settings|mlxpy\ (ls|rm)|[+]baseline|is\ the\ tag
    )\b""",
    re.VERBOSE,
)
# What another program or another function says of it: the sentence is completed where it comes from.
TOLD_ELSEWHERE = re.compile(
    r": \{[^{}]*(error|reason|hint|printed|_message|what|no_field)[^{}]*\}|\{…\}"
)


def without_values(message: Message) -> str:
    return re.sub(r"\{[^{}]*\}", "{}", message.text)


def test_the_messages_are_found() -> None:
    kinds = {message.kind for message in messages()}
    assert kinds >= {*REFUSALS, "StorageError", "RunEndedError", "SystemExit", "print", "echo", "warn"}
    assert len(messages()) > 350
    assert {"_scheduler.py", "_callback.py", "_launch.py", "_main.py"} <= {
        Path(one.file).name for one in messages()
    }


@pytest.mark.parametrize("name", ["MlxpyError", "echo", "print"])
def test_a_message_that_breaks_a_rule_is_noticed(name: str) -> None:
    assert wrong(Message("a.py", 1, name, "invalid value"))


def test_every_message_is_one_sentence_that_says_what_is_wrong_and_what_to_type() -> None:
    assert [str(message) for message in messages() if wrong(message)] == []


def wrong(message: Message) -> bool:
    text = message.text.removesuffix("\n")
    vague = re.search(r"(?i)\b(invalid|illegal|oops|please|error occurred|went wrong)\b", text)
    if vague or "\n" in text or (message.kind != "echo" and re.search(r"[^.][.!]$", text)):
        return True
    if message.kind == "StorageError":  # what the system says of it follows
        return not re.match(r"cannot .*\{|it cannot be read$", text)
    if message.kind in REFUSALS:
        return not (WHAT_TO_DO.search(without_values(message)) or TOLD_ELSEWHERE.search(text))
    return False
