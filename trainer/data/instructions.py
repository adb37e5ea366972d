"""Records of instruction data as documents: recognized, written with the chat template, with the answers marked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from trainer.data import labelled, preferences
from trainer.data.documents import Piece
from trainer.data.messages import NotAConversationError, UnusableError
from trainer.data.recognition import conversation, recognized, shape_of
from trainer.errors import UserError
from trainer.models.answer_spans import Rendering, render
from trainer.models.chat_template import ChatTemplate, Conversation, TemplateError

Record = Mapping[str, Any]
TEXT = "text"
PREFERENCE = preferences.NAME
MERGED = "the chat template refuses a system message, which was put before the first question instead"
CORRECT = "Correct the record, or choose what is read with data.format (--data-format) or data.text_field (--text-field)."


@dataclass(frozen=True)
class Reading:
    """How records become documents.

    Attributes:
        field: the field with the text, or with the messages; None to detect it.
        format: a shape, `text`, or auto. With `preference`, each record is two documents: the chosen and the rejected one.
        train_on: answers or all.
        template: writes conversations; None to read only text.
    """

    field: str | None = None
    format: str = "auto"
    train_on: str = "answers"
    template: ChatTemplate | None = None

    @property
    def instructions(self) -> bool:
        """Whether records may be instruction data."""
        return (
            self.template is not None
            and self.format != TEXT
            and (self.field is None or self.format != "auto")
        )

    @property
    def pairs(self) -> bool:
        """Whether every record is a pair of answers."""
        return self.format == PREFERENCE

    def recognizes(self, record: Record) -> bool:
        """Whether a record is instruction data.

        Raises:
            NotAConversationError: it is of another kind than the format says, or of one that cannot be trained on.
        """
        if self.pairs and not preferences.matches(record):
            preferences.pair(record)  # says what is missing
        return self.pairs or shape_of(record, self.format) is not None

    @property
    def key(self) -> list[str | None]:
        """What the documents depend on."""
        template = self.template.fingerprint if self.template and self.instructions else None
        return [self.field, *([self.format, self.train_on, template] if template else [])]


PLAIN = Reading()


@dataclass(frozen=True)
class Dropped:
    """Records that are not read, for one reason.

    Attributes:
        where: the first of them.
    """

    reason: str
    count: int
    where: str


@dataclass
class Tally:
    """Counts what was read: records by shape, and those that were dropped."""

    shapes: Counter[str] = field(default_factory=Counter)
    dropped: dict[str, Dropped] = field(default_factory=dict)
    notes: dict[str, Dropped] = field(default_factory=dict)

    @property
    def pairs(self) -> bool:
        """Whether the documents are pairs: a chosen one, then the rejected one."""
        return PREFERENCE in self.shapes

    @property
    def conversations(self) -> int:
        return sum(count for name, count in self.shapes.items() if name != TEXT)

    @property
    def templated(self) -> bool:
        """Whether a chat template writes some of the records."""
        return not {TEXT, labelled.NAME}.issuperset(self.shapes)

    def add(self, other: Tally) -> None:
        """Count also what was read after it."""
        self.shapes.update(other.shapes)
        for mine, theirs in ((self.dropped, other.dropped), (self.notes, other.notes)):
            for reason, found in theirs.items():
                before = mine.get(reason, replace(found, count=0))
                mine[reason] = replace(before, count=before.count + found.count)

    def drop(self, reason: str, where: str) -> None:
        self.dropped[reason] = _counted(self.dropped, reason, where)

    def note(self, text: str, where: str) -> None:
        self.notes[text] = _counted(self.notes, text, where)


def _counted(found: Mapping[str, Dropped], reason: str, where: str) -> Dropped:
    before = found.get(reason, Dropped(reason, 0, where))
    return replace(before, count=before.count + 1)


def documents(record: Record, where: str, reading: Reading, tally: Tally) -> Iterator[Piece] | None:
    """The documents of a record: none if it is dropped, and None if it is not instruction data.

    Raises:
        UserError: it is not what its fields promise.
    """
    if not reading.instructions:
        return None
    if reading.field in record:  # it names the messages
        record = {**record, "messages": record[str(reading.field)]}
    try:
        shape = None if reading.pairs else shape_of(record, reading.format)
        if not (shape or reading.pairs):
            return None
        tally.shapes[shape.name if shape else PREFERENCE] += 1
        if shape and shape.name == labelled.NAME:
            found = [labelled.rendering(recognized(record, shape))]
        else:
            talks = [conversation(record, shape)] if shape else preferences.pair(record)
            found = [_rendered(reading.template, talk, where, tally) for talk in talks]
    except NotAConversationError as error:
        raise UserError(f"{where}: {error}. {CORRECT}") from None
    except (UnusableError, TemplateError) as error:
        tally.drop(str(error), where)
        return iter(())
    if reading.pairs and not all(each.answers for each in found):
        tally.drop("the chat template leaves out an answer", where)
        return iter(())
    return iter([_piece(each, where, reading.train_on) for each in found])


def refuse_text(reading: Reading, where: str) -> None:
    """Raise UserError for a text where pairs of answers are needed."""
    if reading.pairs:
        raise UserError(
            f"{where} is a text. Preference data is needed: records with {preferences.FIELDS} (data.format: preference, which "
            "--loss dpo and orpo set)."
        )


def _rendered(template: ChatTemplate | None, talk: Conversation, where: str, tally: Tally) -> Rendering:
    assert template, "Reading.instructions"
    try:
        return render(template, talk)
    except TemplateError:
        first, *others = talk.messages
        if first["role"] != "system" or not others or others[0]["role"] != "user":
            raise
        question = {**others[0], "content": f"{first['content']}\n\n{others[0]['content']}"}
        unlearned = frozenset(index - 1 for index in talk.unlearned)
        found = render(template, Conversation((question, *others[1:]), talk.tools, unlearned))
        tally.note(MERGED, where)
        return found


def _piece(found: Rendering, where: str, train_on: str) -> Piece:
    text = found.text.encode("utf-8", "replace")
    answers = found.answers if train_on == "answers" else ((0, len(found.text)),)
    return Piece(text, True, where, answers, found.cuts)
