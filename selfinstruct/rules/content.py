"""Rules on what should not be left in a text: web links, labels, placeholders. Code is not looked at for placeholders."""

from collections.abc import Sequence

import regex

from selfinstruct.labels import folded, is_weak, label_of, usual_label
from selfinstruct.rules import marks
from selfinstruct.rules.batch import INPUT, INSTRUCTION, OUTPUT, Batch
from selfinstruct.rules.forms import compatible
from selfinstruct.rules.settings import RuleSettings
from selfinstruct.types import Task

_PARTS = ("instruction", "input", "output")

_LINK = regex.compile(
    r"(?<![A-Za-z0-9])(?:https?|ftp)://[^\s<>\"']|(?<![\w@.])www\.[\w-]+\.\w",
    flags=regex.IGNORECASE,
)
_BARE_LINK = regex.compile(
    r"(?<![\p{Latin}\p{Nd}_@./-])(?:[a-z\d][a-z\d-]*+\.)+(?:com|org|net|edu|gov|info|io|ly|co|dev|app|ai|tv|gl|eu|uk|de|fr|es|pt|br|jp|kr|ru|th|vn|id|sa|ae|eg|cn|tw|us|ca|au|in|it|nl)/[\w?#%~&=-]",
    flags=regex.IGNORECASE,
)
"""An address without scheme and www, told by the path behind its host: `bit.ly/3x`."""

_LEFT_TAG = regex.compile(r"[<＜]\s*(?:/?no[\s_-]?(?:in|out)put|sin entrada|sem entrada|keine eingabe|aucune entrée|tidak ada masukan|入力なし|なし|입력 없음|없음|нет ввода|ไม่มีข้อมูลนำเข้า|ไม่มี|không có đầu vào|لا يوجد(?: مدخل)?|بدون مدخلات)\s*[>＞]", flags=regex.IGNORECASE)  # fmt: skip
_LABEL = regex.compile(
    r"^[^\S\n]*+[#*_]*+[^\S\n]*+(?:(?P<number>\p{Nd}{1,3})[^\S\n]*+[.):．、）][^\S\n]*+)?[*_]*+"
    r"(?P<word>\p{L}[\p{L}\p{M}'’]*+(?:\ [\p{L}\p{M}'’]++){0,3}?)(?:\ (?P<after>\p{Nd}{1,3}))?[*_]*+[^\S\n]?[:：]",
    flags=regex.MULTILINE,
)
_CODE = regex.compile(
    r"```.*?(?:```|\Z)|^~~~.*?(?:^~~~|\Z)|`[^`\n]*`|\$[^$\n]{1,200}\$",
    flags=regex.DOTALL | regex.MULTILINE,
)
_CODE_LINE = regex.compile(
    r"[;{]\s*$|^\s*[}<]|=>|==|[\w\])]\s*=\s*[\w\"'\[({]|\w\([^()]*[\"'{]|\\\w+\{|^\s*(?:import|from|def|class|return|print|for|if|SELECT|const|let|var)\b"
)

_BLANK_WORDS = (
    "your|name|insert|date|company|topic|address|title|position|recipient|place|location|time|day|month|year|number|image|chart|person|department|school|university|job|role|sender|city|phone|email|signature|placeholder|product|"
    "nombre|tu|su|inserta|insertar|fecha|empresa|tema|dirección|ciudad|remitente|destinatario|firma|cargo|producto|apellido|lugar|hora|día|mes|persona|personaje|imagen|gráfic[ao]|diagrama|número|teléfono|"
    "nome|seu|sua|inserir|insira|data|endereço|assunto|cidade|lugar|local|hora|dia|mês|pessoa|imagem|gráfico|número|empresa|"
    "nom|votre|ton|insérer|insérez|entreprise|adresse|sujet|ville|prénom|lieu|heure|jour|mois|image|numéro|destinataire|"
    "ihr|dein|einfügen|datum|firma|thema|vorname|nachname|unternehmen|ort|uhrzeit|tag|monat|bild|nummer|empfänger|"
    "nama|anda|masukkan|tanggal|perusahaan|topik|alamat|kota|tempat|jam|hari|bulan|gambar|nomor|penerima|"
    "tên|của bạn|chèn|ngày|công ty|chủ đề|địa chỉ|họ|địa điểm|giờ|tháng|hình ảnh|người nhận|"
    "имя|ваш|ваше|ваша|вставьте|дата|компания|компании|тема|адрес|город|фамилия|должность|название|место|время|номер|изображение|получател[ья]|"
    "اسم|الاسم|اسم المستلم|اسمك|أدخل|تاريخ|التاريخ|الشركة|الموضوع|العنوان|المدينة|"
    "名前|氏名|あなた|会社名|日付|住所|商品名|お名前|宛名|"
    "이름|당신|회사명|회사|날짜|주소|제목|성함|귀하|"
    "ชื่อ|ของคุณ|ใส่|วันที่|บริษัท|หัวข้อ|ที่อยู่"
)
_BRACKETED = regex.compile(r"[\[［](?P<what>[^\[\]［］\n]{2,80})[\]］](?!\s?[(\[]|:\s*\S+://)")
_BLANK_WORD = regex.compile(
    rf"(?:\b(?:{_BLANK_WORDS})\b)|(?:名前|氏名|会社|日付|이름|회사|날짜|주소|ชื่อ|วันที่|ใส่)",
    flags=regex.IGNORECASE,
)
_ABOUT_GAPS = regex.compile(
    r"\b(?:templates?|placeholders?|form letter|plantillas?|vorlagen?|platzhalter|gabarits?|modèles? de (?:lettre|courriel|e-?mail|message|contrat)|"
    r"modelos? de (?:carta|e-?mail|mensagem|contrato|correo)|marcador(?:es)? de posición|templat|mẫu (?:thư|email|đơn)|roman numerals?|números? romanos?|"
    r"römische|chiffres romains|angka romawi|chữ số la mã)\b|шаблон|римск|テンプレート|雛形|ひな形|プレースホルダ|ローマ数字|템플릿|양식|로마 ?숫자|เทมเพลต|แม่แบบ|เลขโรมัน|قالب|رومانية",
    flags=regex.IGNORECASE,
)
_CROSSES = regex.compile(r"(?<![\p{L}\p{N}])(?:X{3,}|x{4,}|Х{3,})(?:[-\s]?X+)*(?![\p{L}\p{N}])")
_CIRCLES = regex.compile(r"[〇○◯]{2,}|[△▲]{2,}|(?<![\p{N}])[×✕]{2,}|(?<=[「『])[〇○◯](?=[」』])")
_BRACED = regex.compile(
    r"(?<![\w\\$}^_%{])\{(?P<what>[\p{L}_]{3,}(?:[ _][\p{L}_]+){0,3})\}(?![\w}])"
)
_ANGLED = regex.compile(
    r"[<＜](?:insert|your|inserta[r]?|tu|su|votre|ihr|masukkan|chèn)\s[^<>\n]{2,40}[>＞]",
    flags=regex.IGNORECASE,
)


_MARKS_OF_GAPS = (*"[［<＜{〇○◯△▲×✕", "xxx", "XXX", "ХХХ")
"""What a gap is made of."""


def web_link(task: Task, language: str, settings: RuleSettings) -> str | None:  # noqa: ARG001 - a rule's signature
    """A web address, with or without its scheme; one in code only where `links_in_code` is off."""
    for part in _PARTS:
        text = compatible(getattr(task, part))
        if "/" not in text and not (
            any(map(text.__contains__, _TWO_OF_WWW)) and "www." in text.lower()
        ):
            continue
        prose = _without_code(text) if settings.links_in_code else text
        found = _LINK.search(prose) or _BARE_LINK.search(prose)
        if found:
            return f"{part}: {found.string[found.start() : found.start() + 60]!r}"
    return None


def may_link(batch: Batch) -> Sequence[bool]:
    """In which tasks `web_link` may find something."""
    return batch.have(marks.SLASH | marks.TWO_W, INSTRUCTION, INPUT, OUTPUT)


_TWO_OF_WWW = ("ww", "WW", "Ww", "wW")


def left_label(task: Task, language: str, settings: RuleSettings) -> str | None:  # noqa: ARG001
    """`<noinput>`, a numbered label at a line's start, or a part that begins with its own label."""
    for part in _PARTS:
        text = getattr(task, part)
        if not any(map(text.__contains__, _MARKS_OF_LABELS)):
            continue
        prose = _without_code(text)
        tag = _LEFT_TAG.search(prose)
        if tag:
            return f"{part}: {tag[0]!r}"
        for found in _LABEL.finditer(prose):
            named = label_of(found["word"], language)
            numbered = found["number"] or found["after"]
            usual = named is not None and folded(found["word"]) == folded(
                usual_label(named, language)
            )
            if named is None or (
                is_weak(found["word"]) and not usual and folded(found["word"]) not in _PLURALS
            ):
                continue
            if folded(found["word"]) in _PLURALS and not numbered:
                continue
            if numbered or (named == part and not text[: found.start()].strip()):
                return f"{part}: {found[0].strip()!r}"
    return None


def may_have_label(batch: Batch) -> Sequence[bool]:
    """In which tasks `left_label` may find something."""
    return batch.have(marks.LABEL, INSTRUCTION, INPUT, OUTPUT)


_MARKS_OF_LABELS = tuple("<＜:：")
"""What a label or a tag cannot do without."""

_PLURALS = frozenset(
    map(
        folded,
        (
            "instructions",
            "instrucciones",
            "instruções",
            "anweisungen",
            "инструкции",
            "inputs",
            "outputs",
        ),
    )
)


def placeholder(task: Task, language: str, settings: RuleSettings) -> str | None:  # noqa: ARG001
    """A gap left for a reader to fill, in the instruction or the output, outside code and formulas.

    A task that asks for a template is about gaps, and an output may repeat a gap that its input has.
    """
    for part in ("output", "instruction"):
        text = getattr(task, part)
        if not any(map(text.__contains__, _MARKS_OF_GAPS)):
            continue
        text = _prose(text)
        for pattern in (_BRACKETED, _CROSSES, _CIRCLES, _BRACED, _ANGLED):
            for found in pattern.finditer(text):
                if _is_gap(pattern, found) and not (part == "output" and found[0] in task.input):
                    return None if _ABOUT_GAPS.search(task.instruction) else f"{part}: {found[0]!r}"
    return None


def may_have_gap(batch: Batch) -> Sequence[bool]:
    """In which tasks `placeholder` may find something."""
    return batch.have(marks.GAP | marks.TWO_X, INSTRUCTION, OUTPUT)


def _is_gap(pattern: object, found: "regex.Match[str]") -> bool:
    if pattern is _BRACKETED:
        return bool(_BLANK_WORD.search(found["what"])) and "," not in found["what"]
    return True


def _prose(text: str) -> str:
    """A text without fenced and inline code, formulas and lines of code."""
    return "\n".join(
        line for line in _without_code(text).split("\n") if not _CODE_LINE.search(line)
    )


def _without_code(text: str) -> str:
    return str(_CODE.sub(" ", text))
