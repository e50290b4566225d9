"""The rule on personal data: e-mail addresses, telephone, card and bank account numbers, in the digits of any script."""

import re
import unicodedata
from collections.abc import Sequence

import regex

from selfinstruct.rules import marks
from selfinstruct.rules.batch import INPUT, INSTRUCTION, OUTPUT, Batch
from selfinstruct.rules.forms import compatible, count_digits
from selfinstruct.rules.settings import RuleSettings
from selfinstruct.types import Task

_WORD = r"\p{Latin}\p{M}\p{Nd}_"
"""What a number may not touch; letters of other scripts may, since Japanese writes no space and Korean hangs particles on it."""

_EMAIL = regex.compile(r"(?<![\w.+%-])[\w+%-]++(?:\.[\w+%-]++)*@(?:[\p{L}\d-]++\.)+\p{L}{2,24}\b")
_PHONE_WORD = r"(?:tel(?:e(?:phone|fon[eo]?|fono))?|teléfono|telefone|téléphone|phone|mobile|cell|celular|móvil|handy|whatsapp|fax|電話|携帯|전화|핸드폰|휴대폰|연락처|โทร(?:ศัพท์)?|เบอร์|điện thoại|sđt|số máy|هاتف|جوال|تلفون|тел(?:ефон)?|телефона|telepon|nomor hp|ponsel|手机|电话)"
_PHONE = regex.compile(
    rf"(?<![{_WORD}.,/+-])(?:"
    r"\+\d{1,3}[\s().-]{0,2}(?:\(?\d{1,4}\)?[\s.-]?){2,5}\d{2,4}"  # +34 912 345 678
    r"|\(\d{2,4}\)[\s.-]?\d{3,4}[\s.-]\d{3,4}"  # (212) 345-6789
    r"|\d{3}(?P<mark>[-. ])\d{3}(?P=mark)\d{4}"  # 212-345-6789
    r"|0\d{1,3}-\d{3,4}-\d{4}"  # 03-1234-5678, 010-1234-5678
    rf"|(?i:{_PHONE_WORD})\W{{1,12}}(?:\w+\W{{1,3}}){{0,2}}?\(?\+?\d[\d\s().-]{{6,16}}\d"
    rf")(?![{_WORD}])(?!-\d)"
)
_ROUND = regex.compile(r"(?:\d+0[-. ]){2}\d+00")
_LEAST_PHONE_DIGITS = 8
_MOST_PHONE_DIGITS = 15
"""ITU-T E.164 allows 15 digits; national numbers have 8 at least."""

_RESERVED_DOMAIN = re.compile(
    r"(?:[@.]example\.(?:com|net|org)|[@.](?:example|test|invalid|localhost))$", re.IGNORECASE
)
"""RFC 2606, sections 2 and 3; RFC 6761, section 6."""

_RESERVED_NUMBER = re.compile(r"1?[2-9]\d\d55501\d\d")
"""Fictional use (North American Numbering Plan Administrator, 555 line numbers), with its area code."""

_CARD = regex.compile(
    rf"(?<![{_WORD}.,-])(?<!\d )"
    r"(?:\d{13,19}|\d{4}(?P<gap>[ -])\d{4}(?P=gap)\d{4}(?P=gap)\d{1,4}(?:(?P=gap)\d{1,3})?|\d{4}(?P<wide>[ -])\d{6}(?P=wide)\d{4,5})"
    rf"(?![{_WORD}])(?! ?\d)(?![.,-]\d)"
)
_CARD_LENGTHS = range(13, 20)
"""ISO/IEC 7812: 13 to 19 digits here, the last one Luhn's."""

_IBAN = regex.compile(
    rf"(?<![{_WORD}])[A-Z]{{2}}\d{{2}}(?: ?[A-Z\d]{{4}}){{2,7}}(?: ?[A-Z\d]{{1,3}})?(?![{_WORD}])"
)
_IBAN_LENGTHS = range(15, 35)
_FEWEST_IBAN_DIGITS = 2


def personal_data(task: Task, language: str, settings: RuleSettings) -> str | None:  # noqa: ARG001 - a rule's signature
    """An e-mail address, a telephone number, a card number by Luhn's checksum or an IBAN by ISO 7064's."""
    for part in ("instruction", "input", "output"):
        # NFKC makes full-width signs plain; digits of other scripts are digits to the patterns
        text = compatible(getattr(task, part))
        digits = count_digits(text)
        if digits < _FEWEST_IBAN_DIGITS and "@" not in text:
            continue
        for name, finds, fewest_digits in _FINDERS:
            found = finds(text, settings) if digits >= fewest_digits else None
            if found:
                return f"{part}: {name} {found!r}"
    return None


def may_be_personal(batch: Batch) -> Sequence[bool]:
    """In which tasks `personal_data` may find something."""
    return batch.have(marks.DIGIT | marks.AT, INSTRUCTION, INPUT, OUTPUT)


def _email(text: str, settings: RuleSettings) -> str | None:
    for found in _EMAIL.finditer(text) if "@" in text else ():
        if not (settings.reserved_contacts and _RESERVED_DOMAIN.search(found[0])):
            return str(found[0])
    return None


def _phone(text: str, settings: RuleSettings) -> str | None:
    for found in _PHONE.finditer(text):
        digits = "".join(str(unicodedata.decimal(one)) for one in found[0] if one.isdecimal())
        if settings.reserved_contacts and _RESERVED_NUMBER.fullmatch(digits):
            continue
        if _ROUND.fullmatch(found[0]):
            continue  # three sums, "350-400-2000"
        if _LEAST_PHONE_DIGITS <= len(digits) <= _MOST_PHONE_DIGITS:
            return str(found[0])
    return None


def _card(text: str, settings: RuleSettings) -> str | None:  # noqa: ARG001 - a finder's signature
    for found in _CARD.finditer(text):
        digits = [unicodedata.decimal(character) for character in found[0] if character.isdecimal()]
        if len(digits) in _CARD_LENGTHS and digits[0] in {2, 3, 4, 5, 6} and _luhn(digits):
            return str(found[0])
    return None


def _luhn(digits: list[int]) -> bool:
    """Whether the last digit is the checksum of the others (ISO/IEC 7812-1, annex B)."""
    doubled = [digit * 2 - 9 if digit > 4 else digit * 2 for digit in digits[-2::-2]]
    return (sum(digits[::-2]) + sum(doubled)) % 10 == 0 and len(set(digits)) > 1


def _iban(text: str, settings: RuleSettings) -> str | None:  # noqa: ARG001
    for found in _IBAN.finditer(text):
        compact = found[0].replace(" ", "")
        for length in range(len(compact), _IBAN_LENGTHS.start - 1, -1):
            # a word in capitals may follow the number
            if length in _IBAN_LENGTHS and _checks(compact[:length]):
                return str(found[0])
    return None


def _checks(iban: str) -> bool:
    """ISO 13616: country and check digits at the end, letters as 10 to 35, the number is 1 modulo 97."""
    return int("".join(str(int(character, 36)) for character in iban[4:] + iban[:4])) % 97 == 1


_FINDERS = (
    ("IBAN", _iban, _FEWEST_IBAN_DIGITS),
    ("card number", _card, _CARD_LENGTHS.start),
    ("e-mail address", _email, 0),
    ("telephone number", _phone, _LEAST_PHONE_DIGITS),
)
"""What is looked for, and the digits that a text must have for it to be there."""
