"""Which rules hold and where their limits lie, as a section of selfinstruct's YAML; it judges nothing."""

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Graphemes = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]

PAPER_INPUT_ROUGE = {"ko": 0.3, "vi": 0.3, "ar": 0.2}
"""MultiAlpaca's thresholds of F(instruction, input) for these languages (arXiv 2307.06018, appendix)."""


class RuleSettings(BaseModel):
    """A switch per rule, named as its reason is counted, and the limits."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    missing_part: bool = True
    """Drop a task without an instruction or an output."""

    web_link: bool = True
    """Drop a task that holds a web address."""

    links_in_code: bool = True
    """Keep a task whose web addresses all stand in code, fenced or between backticks: a program may fetch a page, and
    a text that sends its reader to one is what the rule is for."""

    input_in_instruction: bool = True
    """Blank an input that the instruction holds already; the task is kept and the change recorded."""

    input_like_instruction: bool = True
    """Drop a task whose input says its instruction again, ROUGE-L F above `input_rouge`."""

    input_rouge: Share = 0.5
    input_rouge_by_language: dict[str, Share] = {}
    """Thresholds that differ, by language code."""

    paper_input_rouge: bool = False
    """Use the paper's thresholds for Korean (0.3), Vietnamese (0.3) and Arabic (0.2)."""

    left_label: bool = True
    """Drop a task with `<noinput>` or a part's label left in its text."""

    placeholder: bool = True
    """Drop a task with `[your name]`, `XXX`, `{topic}` or 〇〇 outside code."""

    refusal: bool = True
    """Drop a task whose output opens with a refusal."""

    wrong_language: bool = True
    """Drop a task whose instruction, or whose output where no other language is asked for, surely is in another language."""

    gloss: bool = True
    """Drop a task that spells its own language in Latin letters in brackets, word after word."""

    length: bool = True
    """Drop a task with a part outside these limits, in graphemes (what a reader counts as characters)."""

    shortest_instruction: Graphemes = 4
    longest_instruction: Graphemes = 1_500
    longest_input: Graphemes = 8_000
    longest_output: Graphemes = 8_000

    repetition: bool = True
    """Drop a task whose text loops."""

    beyond_text: bool = True
    """Drop a task that asks for images, sound, files, the web or the present moment."""

    personal_data: bool = True
    """Drop a task with an e-mail address, a telephone number, a card number or an IBAN."""

    reserved_contacts: bool = True
    """Keep addresses that can be nobody's: of domains reserved for examples (RFC 2606 and 6761: example.com, .net and
    .org, .example, .test, .invalid, .localhost), and North American numbers from 555-0100 to 555-0199."""

    evaluation_overlap: bool = True
    """Drop a task that an evaluation set holds, or that shares a run of words with it."""

    evaluation_sets: tuple[Path, ...] = ()
    """Files of evaluation items: JSON or JSON lines, of which every text counts, or plain text, an item per line."""

    overlap_tokens: Annotated[int, Field(ge=4)] = 13
    """Length of the shared run (GPT-3, arXiv 2005.14165, appendix C)."""

    def input_threshold(self, language: str) -> float:
        """The ROUGE-L F above which an input says its instruction again, for a language."""
        main = language.partition("-")[0].lower()
        paper = PAPER_INPUT_ROUGE.get(main) if self.paper_input_rouge else None
        own = self.input_rouge_by_language.get(
            language, self.input_rouge_by_language.get(main, paper)
        )
        return self.input_rouge if own is None else own
