"""The words that name a task's parts in a reply, per language, and the words for "no input"; it reads no reply.

Words are compared without case, accents and spaces, so that `Instrucción`, `INSTRUCCION` and `instruccion` are one.
"""

import unicodedata
from collections.abc import Mapping
from functools import cache, lru_cache
from typing import Literal, TypeAlias

import regex

Part: TypeAlias = Literal["instruction", "input", "output"]

_LABELS: Mapping[str, Mapping[Part, str]] = {
    "en": {
        "instruction": "instruction|instructions|task|prompt|task instruction|task description",
        "input": "input|inputs|context|task input",
        "output": "output|outputs|response|answer|expected output|task output|completion",
    },
    "ar": {
        "instruction": "التعليمات|التعليمة|تعليمات|تعليمة|تعليم|التوجيه|توجيه|توجيهات|المهمة|مهمة|الأمر|الإرشادات|إرشادات|الإرشاد",
        "input": "المدخلات|المدخل|مدخلات|مدخل|الإدخال|إدخال|ادخال|الدخل|المعطيات|السياق",
        "output": "المخرجات|المخرج|مخرجات|مخرج|الإخراج|إخراج|اخراج|الناتج|النتيجة|الإجابة|إجابة|الجواب|الرد|الخرج",
    },
    "de": {
        "instruction": "anweisung|anweisungen|anleitung|aufgabe|instruktion|aufgabenstellung|auftrag",
        "input": "eingabe|eingaben|input|eingabetext|kontext",
        "output": "ausgabe|ausgaben|output|antwort|lösung|loesung|ergebnis",
    },
    "es": {
        "instruction": "instrucción|instrucciones|tarea|consigna|indicación|indicaciones",
        "input": "entrada|entradas|input|contexto|datos de entrada",
        "output": "salida|salidas|output|respuesta|resultado|datos de salida",
    },
    "fr": {
        "instruction": "instruction|instructions|consigne|consignes|tâche|directive",
        "input": "entrée|entrées|input|contexte|données d'entrée",
        "output": "sortie|sorties|output|réponse|résultat|données de sortie",
    },
    "id": {
        "instruction": "instruksi|perintah|tugas|petunjuk|arahan",
        "input": "masukan|input|konteks",
        "output": "keluaran|output|luaran|jawaban|hasil|respons|tanggapan",
    },
    "ja": {
        "instruction": "指示|命令|指示文|インストラクション|タスク|課題|指令|説明",
        "input": "入力|インプット|入力文|入力例|文脈",
        "output": "出力|アウトプット|出力文|出力例|回答|応答|答え|解答|返答",
    },
    "ko": {
        "instruction": "지시|지시사항|지시문|지침|명령|명령어|과제|작업|인스트럭션|설명",
        "input": "입력|입력값|인풋|입력문|맥락",
        "output": "출력|출력값|아웃풋|결과|답변|응답|답|정답|출력문",
    },
    "pt": {
        "instruction": "instrução|instruções|tarefa|comando|enunciado|orientação",
        "input": "entrada|entradas|input|contexto|dados de entrada",
        "output": "saída|saídas|output|resposta|resultado|dados de saída",
    },
    "ru": {
        "instruction": "инструкция|инструкции|задание|задача|указание|команда",
        "input": "ввод|вход|входные данные|входной текст|входные|вводные данные|контекст|исходные данные",
        "output": "вывод|выход|выходные данные|ответ|результат|выходной текст|выходные",
    },
    "th": {
        "instruction": "คำสั่ง|คำแนะนำ|คำชี้แจง|งาน|โจทย์|ข้อแนะนำ|คําสั่ง|คําแนะนํา",
        "input": "ข้อมูลนำเข้า|ข้อมูลเข้า|อินพุต|ป้อนข้อมูล|การป้อนข้อมูล|ข้อมูลที่ป้อน|ข้อมูลป้อนเข้า|นำเข้า|ข้อมูล|บริบท|ข้อมูลอินพุต",
        "output": "ข้อมูลส่งออก|ข้อมูลออก|เอาต์พุต|เอาท์พุต|เอาท์พุท|เอาต์พุท|ผลลัพธ์|คำตอบ|ผลลัพท์|ส่งออก|ข้อมูลเอาต์พุต",
    },
    "vi": {
        "instruction": "hướng dẫn|chỉ dẫn|chỉ thị|yêu cầu|nhiệm vụ|câu lệnh|lệnh|đề bài|chỉ dẫn công việc",
        "input": "đầu vào|dữ liệu đầu vào|nhập|input|ngữ cảnh|nhập liệu|thông tin đầu vào",
        "output": "đầu ra|dữ liệu đầu ra|kết quả|output|trả lời|câu trả lời|phản hồi|xuất|đáp án|kết quả đầu ra",
    },
    "zh": {
        "instruction": "指令|指示|说明|任务|任務|說明|命令",
        "input": "输入|輸入",
        "output": "输出|輸出|回答|答案|回复",
    },
}
"""Language to the words for each part, the usual one first."""

_PLURALS = "instructions|instrucciones|instruções|anweisungen|inputs|outputs|entradas|salidas|saídas|инструкции|task|tarea|tarefa|aufgabe|tugas|context|kontext|contexto|konteks|prompt|resultado|result|resultat|résultat|ergebnis|hasil|contexte|комaндa|anleitung|petunjuk|hướng dẫn|indicaciones|説明|설명|答え|answer|respuesta|resposta|antwort|réponse|ответ|jawaban|답|정답|คำตอบ|trả lời|câu trả lời|đáp án|الجواب|الإجابة|回答|ข้อมูล|คำแนะนำ|งาน"
"""Words that head a paragraph of ordinary text as well, a recipe's "Instructions:" say; see `is_weak`."""

_NO_INPUT = (
    "noinput|no input|no_input|noinput required|no input required|no input needed|no input necessary|none|n/a|na|nil|null|empty|not applicable|none provided|none needed|none required|none necessary|not required|not needed|no input provided|no input given|no input is needed|no input is required|no additional input|"
    ""
    "لا يوجد|لا يوجد مدخل|لا يوجد مدخلات|لا توجد مدخلات|بدون مدخلات|بدون مدخل|بدون إدخال|لا مدخلات|لا إدخال|لا شيء|لا توجد|غير مطلوب|غير مطلوبة|لا حاجة لمدخلات|لا حاجة إلى مدخلات|لا حاجة|لا يلزم|بلا مدخلات|لا ينطبق|لا يوجد إدخال|"
    "keine eingabe|kein input|keine|ohne eingabe|keine eingabe erforderlich|nicht zutreffend|keine eingabe nötig|keine eingabe notwendig|keine eingabe benötigt|keine nötig|keine erforderlich|nicht nötig|nicht erforderlich|entfällt|keine eingaben|"
    ""
    "sin entrada|ninguna|ninguno|ninguna entrada|no hay entrada|sin input|no aplica|no se requiere entrada|no se requiere|no se necesita|no se necesita entrada|no se requiere ninguna entrada|no es necesario|no es necesaria|no necesaria|no requerida|ninguna necesaria|sin entradas|"
    ""
    "aucune entrée|aucune|aucun|pas d'entrée|sans entrée|sans objet|pas d'entrée requise|aucune entrée nécessaire|aucune entrée requise|aucune nécessaire|aucune requise|non requise|pas nécessaire|pas d'entrée nécessaire|non applicable|néant|"
    ""
    "tidak ada|tidak ada masukan|tidak ada input|tanpa masukan|tanpa input|tidak diperlukan|tidak perlu|tidak memerlukan input|tidak memerlukan masukan|tidak perlu input|tidak perlu masukan|tidak diperlukan input|tidak diperlukan masukan|tidak berlaku|"
    ""
    "なし|無し|入力なし|入力無し|入力は不要|入力不要|特になし|インプットなし|ありません|必要なし|入力は必要ありません|入力の必要なし|入力は必要なし|入力はありません|該当なし|"
    "없음|입력 없음|입력없음|입력값 없음|입력이 필요 없음|해당 없음|입력 필요 없음|입력은 필요 없음|입력 불필요|필요 없음|필요 없습니다|입력이 필요하지 않습니다|입력이 없습니다|"
    "sem entrada|nenhuma|nenhum|nenhuma entrada|não há entrada|sem input|não se aplica|não é necessária entrada|não é necessária|não é necessário|não necessária|não requerida|nenhuma entrada necessária|nenhuma necessária|não aplicável|sem entradas|"
    ""
    "нет ввода|без ввода|нет входных данных|нет|отсутствует|ввод не требуется|ввод отсутствует|не требуется|отсутствуют|не нужен|не нужны|не требуются|ввод не нужен|без входных данных|входные данные не требуются|входные данные отсутствуют|"
    ""
    "ไม่มี|ไม่มีข้อมูลนำเข้า|ไม่มีอินพุต|ไม่มีข้อมูล|ไม่มีข้อมูลเข้า|ไม่มีการป้อนข้อมูล|ไม่มีอินพุท|ไม่ต้องป้อนข้อมูล|ไม่จำเป็น|ไม่จำเป็นต้องมี|ไม่ต้องใช้|ไม่ต้องมี|ไม่จำเป็นต้องมีข้อมูลนำเข้า|ไม่ต้องใช้ข้อมูลนำเข้า|"
    "không có|không có đầu vào|không|không cần đầu vào|không đầu vào|không áp dụng|không cần|không cần thiết|không yêu cầu|không bắt buộc|không có dữ liệu đầu vào|không cần dữ liệu đầu vào|không yêu cầu đầu vào|"
    ""
    "无|無|无输入|無輸入|没有输入|不需要输入"
)

_BRACKETS = "<>[](){}«»‹›„“”\"'`*_（）【】［］「」『』〈〉《》 .。\t\n\u00a0"
_NO_INPUT_TAG = regex.compile(
    r"\s*+[<\[(（〈＜]\s*+(?P<word>[^<>\[\]()\n]{1,40}?)\s*+[>\])）〉＞][\s.。]*+",
    flags=regex.DOTALL,
)
_LONGEST_NO_INPUT = 60


def folded(word: str) -> str:
    """A label as it is compared: compatibility forms, no case, no marks, no spaces or underscores."""
    # d with a stroke is no d with a mark to Unicode, and is to a keyboard without it
    decomposed = unicodedata.normalize("NFKD", word).casefold().replace("đ", "d")
    return "".join(
        character
        for character in decomposed
        if unicodedata.category(character) != "Mn"
        and not character.isspace()
        and character not in "_'’ـ"
    )


@lru_cache(maxsize=4096)
def label_of(word: str, language: str | None = None) -> Part | None:
    """The part that a word names in a language or in English, or None; every language where none is given."""
    return _words(language.partition("-")[0].lower() if language else None).get(folded(word))


@lru_cache(maxsize=4096)
def is_weak(word: str) -> bool:
    """Whether a label's word heads ordinary paragraphs too, so that it needs a number or a mark to be a label."""
    return folded(word) in _weak_words()


def is_no_input(text: str) -> bool:
    """Whether an input says that there is none: empty, `<noinput>`, "none", `<sin entrada>`, 「なし」 ..."""
    short = text.strip()
    if short.startswith(("\\<", "&lt;")) and len(short) <= _LONGEST_NO_INPUT:
        # Markdown and HTML write the angle brackets so
        plain = short.replace("\\", "").replace("&lt;", "<").replace("&gt;", ">")
        return _says_none(plain) and any(map(str.isalpha, plain))
    return not short or (len(short) <= _LONGEST_NO_INPUT and _says_none(short))


@lru_cache(maxsize=4096)
def _says_none(short: str) -> bool:
    tag = _NO_INPUT_TAG.match(short)
    if tag and folded(tag["word"]) in _no_input_words():
        # a remark may follow the tag: "<noinput> (none is needed)"
        rest = short[tag.end() :].strip()
        return not rest or rest.startswith(("(", "（"))
    return folded(short.strip(_BRACKETS)) in _no_input_words() or not short.strip(
        _BRACKETS + "-–—/ー"
    )


def without_no_input(text: str) -> str:
    """An input's text, empty where it says that there is none."""
    return "" if is_no_input(text) else text.strip()


def usual_label(part: Part, language: str) -> str:
    """The usual word for a part in a language, in English for a language without an entry."""
    return _LABELS.get(language.partition("-")[0].lower(), _LABELS["en"])[part].partition("|")[0]


def languages() -> tuple[str, ...]:
    """The languages with labels of their own."""
    return tuple(_LABELS)


def words_for(part: Part, language: str) -> tuple[str, ...]:
    """Every word for a part in a language that has an entry."""
    return tuple(_LABELS[language][part].split("|"))


@cache
def _words(language: str | None) -> Mapping[str, Part]:
    chosen = tuple(_LABELS) if language is None else (language, "en")
    return {
        folded(word): part
        for code in reversed(chosen)
        for part, words in _LABELS.get(code, {}).items()
        for word in words.split("|")
    }


@cache
def _weak_words() -> frozenset[str]:
    return frozenset(folded(word) for word in _PLURALS.split("|"))


@cache
def _no_input_words() -> frozenset[str]:
    return frozenset(folded(word) for word in _NO_INPUT.split("|"))
