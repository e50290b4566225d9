"""What tasks sound like in each language whose answers may speak of themselves or refuse, and which a text answers though they sound beyond it.

English holds in every language, because models fall back on it.
"""

from collections.abc import Mapping

ABOUT_REFUSAL: Mapping[str, str] = {
    "en": r"\b(?:refus|declin|apolog|chatbot|artificial intelligence|assistant|language model|robot|reject|dialog|sorry|customer|turn(?:s|ed|ing)? (?:\w+ ){0,4}?down\b|say(?:s|ing)? no\b|begs? off|back(?:ing)? out\b|get(?:ting)? out of\b|politely|bots?\b|rebuff|bow(?:ing)? out|rsvp|excus|regret|unavailable|voicemail|answering machine|automated)",
    "ar": "رفض|اعتذ|ذكاء|روبوت|مساعد|نموذج لغ|حوار|محادثة|عميل|اعتذار|قل لا|قول لا|أقول لا|بوت|النماذج اللغ|نماذج لغ|الرد الآلي|مجيب آلي|عدم (?:الحضور|الذهاب)",
    "de": r"ablehn|entschuldig|absag|künstliche|Chatbot|Assistent|Sprachmodell|Roboter|Dialog|Kunde|\bnein\b|abzulehnen|\blehn\w*|\bsag\w* .{0,60}\bab\b|\bBots?\b|Telefonansage|Anrufbeantworter|nicht (?:kommen|teilnehmen|hinzugehen)|abwimmel",
    "es": r"rechaz|disculp|inteligencia artificial|chatbot|asistente|modelo de lenguaje|robot|diálogo|conversación|cliente|dec(?:ir|írle)\w* que no\b|\bd(?:i|ile|iga|ígale|igo)\b[^.?!]{0,24}\bno\b|declin|\bneg(?:ar|arme|arse|arle|ativa)\b|\bbots?\b|excus|modelos de lenguaje|contestador|no (?:poder )?(?:ir|asistir|acudir)\b",
    "fr": r"refus|excus|intelligence artificielle|chatbot|assistant|modèle de langage|robot|dialogue|conversation|client|\bdi(?:re|s|sons|tes)\b[^.?!]{0,24}\bnon\b|déclin|modèles de langage|répondeur|standard automatique|ne pas (?:venir|aller|assister|participer|se rendre)",
    "id": r"tolak|maaf|kecerdasan buatan|chatbot|asisten|model bahasa|robot|dialog|percakapan|pelanggan|nolak|\b(?:bilang|katakan|mengatakan) tidak\b|\bbot\b|mesin penjawab|tidak (?:hadir|datang|menghadiri|ikut)\b|berhalangan",
    "ja": "断(?:る|り|っ|わ)|謝(?:る|り|罪|っ)|お詫び|人工知能|チャットボット|アシスタント|言語モデル|ロボット|会話|対話|顧客|客|断れ|断ろ|辞退|お断り|ボット|留守番|自動音声|自動応答|欠席|不参加",
    "ko": "거절|사과(?:하|문|편지|드|의|를 전)|인공지능|챗봇|어시스턴트|비서|언어 ?모델|로봇|대화|고객|사양|안 된다고|못 간다|못 한다|싫다고|봇|자동 ?응답|불참|거부",
    "pt": r"recus|desculp|inteligência artificial|chatbot|assistente|modelo de linguagem|robô|diálogo|conversa|cliente|diz(?:er|endo)? (?:que )?não\b|\bdig[ao] (?:que )?não\b|declin|\bneg(?:ar|ue|o|ativa)\b|modelos de linguagem|\bbots?\b|secretária eletrônica|atendimento automático|não (?:ir|comparecer|participar)\b",
    "ru": r"отказ|извин|искусственн|чат-?бот|ассистент|помощник|языков\w+ модел|робот|диалог|разговор|клиент|откаж|отклон|отверг|сказать нет|скажи\w* нет|сказать «нет|\bбот\w*|автоответчик|не (?:прийти|пойти|идти|ехать|явиться)\b|вежливо",
    "th": "ปฏิเสธ|ขอโทษ|ขออภัย|ปัญญาประดิษฐ์|แชทบอท|แชตบอต|ผู้ช่วย|โมเดลภาษา|หุ่นยนต์|สนทนา|ลูกค้า|บอกปัด|บอต|บอท|ตอบรับอัตโนมัติ|ไม่ไป|ไม่เข้าร่วม|ไม่มางาน",
    "vi": r"từ chối|xin lỗi|trí tuệ nhân tạo|chatbot|trợ lý|mô hình ngôn ngữ|robot|hội thoại|khách hàng|đối thoại|nói không|khước từ|thoái thác|\bbot\b|tổng đài|không (?:đi|đến|tham dự|dự)\b",
}
"""What a task is about where its answer may well be a refusal, an apology or the words of an assistant."""

IN_A_VOICE: Mapping[str, str] = {
    "en": r"\bwording|\bways? (?:to|of) (?:say|tell|ask|answer|declin|apologi)\w*|\b(?:do|can|should|would|could) I (?:say|tell|put it|answer|reply)\b|writ|letter|e-?mail|\bnote|messag|stor|poem|novel|diary|journal|dialog|convers|role|charact|speech|lyric|song|monolog|scene|line|quot|sentence|phrase|translat|rewrit|rephras|paraphras|correct|chang|convert|turn |complet|continu|finish|repl|respon|answer as|pretend|imagine|excus|complain|review|confess|example|haiku|caption|tweet|post\b|\bsay\b|\btell (?:your|the|a)|first.person|from the perspective|if you were|describe (?:a|the) time|\bfill\b|describe .{0,40} (?:as|like)\b|what (?:would|might|could|will|does|do|did) .{0,40}\b(?:say|reply|answer|tell|think)\b",
    "es": r"\b(?:formas?|maneras?) (?:\w+ ){0,2}de (?:decir|avisar|pedir|contestar|responder)|escri|redact|carta|correo|nota|mensaj|cuent|histori|relat|poem|novela|diario|diálog|convers|papel|personaj|discurs|letra|canci|monólog|escena|frase|oraci|cita\b|traduc|reescri|reformul|parafrase|corrig|correg|cambi|convi|complet|contin|termin|respond|respuest|finge|imagina|excus|quej|reseñ|ejempl|haiku|tuit|\bdi\b|\bdile|qué dirías|si fueras|perspectiva|preséntate|prepar|\b(?:diría|dice|decir|digo|diciend)\w*\b|\bcontest",
    "fr": r"\bformul|\b(?:façons?|manières?) (?:\w+ ){0,2}de (?:dire|prévenir|répondre)|écri|rédig|lettre|courri|\bmot\b|note|messag|cont|histoire|récit|poème|roman|journal|dialog|convers|rôle|personnage|discours|parol|chanson|monolog|scène|phrase|cit|tradui|réécri|reformul|paraphras|corrig|chang|transform|compl|contin|termin|répond|répons|imagin|excus|plaint|avis|exempl|haïku|tweet|réplique|perspective|si tu étais|présente|décri|(?<!me )\bd(?:irait|irai|iraient|irais|ire|it|isent)\b",
    "de": r"\b(?:sage|sagt|antworte|entschuldige) (?:ich|man|mich)\b|wortlaut|schreib|verfass|formulier|brief|mail|notiz|nachricht|geschicht|erzähl|gedicht|roman|tagebuch|dialog|gespräch|rolle|figur|rede|lied|monolog|szene|satz|sätze|zitat|übersetz|umschreib|paraphras|korrigier|verbesser|änder|wandle|vervollständ|ergänz|fortset|führe .* fort|antwort|stell dir|entschuldig|beschwer|rezension|beispiel|haiku|tweet|perspektive|stell dich|beschreib|(?<!mir )\bsag(?:en|t|te)\b|\bgesagt\b",
    "pt": r"\b(?:formas?|maneiras?|jeitos?) (?:\w+ ){0,2}de (?:dizer|avisar|falar|pedir|responder)|escrev|redij|redaç|carta|e-?mail|bilhete|nota|mensag|conto|históri|poem|romance|diário|diálog|convers|papel|personag|discurs|letra|canç|música|monólog|cena|frase|oraç|citaç|tradu|reescrev|reformul|parafras|corrij|mud|convert|transform|complet|contin|termin|respond|respost|imagin|desculp|reclam|resenh|exempl|haicai|tuít|\bdiga\b|fala|perspectiva|apresente|descrev|(?<!me )\bd(?:iria|iriam|iz|izer|izem|igo)\b",
    "id": r"\bcara (?:\w+ ){0,2}(?:mengatakan|menyampaikan|bilang|menjawab|menolak|meminta maaf)|tulis|surat|email|catatan|pesan|cerita|kisah|puisi|novel|harian|dialog|percakap|peran|tokoh|pidato|lirik|lagu|monolog|adegan|kalimat|kutip|terjemah|ubah|parafrasa|perbaiki|ganti|lengkap|lanjut|selesai|balas|jawab|bayang|maaf|keluh|ulas|contoh|haiku|cuit|perspektif|perkenal|gambarkan|\bkata\b|katakan|ucap|berkata|bilang|ujar",
    "vi": r"viết|soạn|thư|email|ghi chú|lời nhắn|tin nhắn|truyện|câu chuyện|kể|thơ|tiểu thuyết|nhật ký|thoại|đóng vai|nhân vật|phát biểu|lời bài|bài hát|độc thoại|cảnh|câu|trích|dịch|diễn đạt|sửa|đổi|chuyển|hoàn thành|tiếp|trả lời|tưởng tượng|xin lỗi|phàn nàn|đánh giá|ví dụ|haiku|góc nhìn|giới thiệu|tả|mô tả|\b(?:sẽ |đã )?(?:nói|bảo|thốt)\b",
    "ru": r"формулировк|\bкак (?:\w+ ){0,2}(?:сказать|ответить|отказать|извиниться)|напиши|написать|сочини|состав|письм|записк|сообщени|истори|рассказ|сказк|стих|роман|дневник|диалог|разговор|рол|персонаж|геро|реч|песн|монолог|сцен|предложени|фраз|цитат|перев|перепиш|перефраз|исправ|измени|преобраз|заверш|допиш|дополн|продолж|ответ|представ|вообрази|извин|жалоб|отзыв|пример|хайку|твит|реплик|от лица|опиши|\bсказал\w*|\bскажет|\bговор\w+|\bсказать\b",
    "ar": "اكتب|كتابة|رسالة|بريد|ملاحظة|قصة|حكاية|قصيدة|شعر|رواية|يوميات|حوار|محادثة|دور|شخصية|خطاب|كلمات|أغنية|مونولوج|مشهد|جملة|عبارة|اقتبا|ترجم|أعد|صياغة|صحح|غيّ?ر|حوّ?ل|أكمل|تابع|أجب|رد|تخيل|اعتذ|شكوى|مراجعة|مثال|هايكو|تغريدة|بلسان|قدم نفسك|صف|يقول|تقول|سيقول|ستقول|أقول|قالت",
    "ja": "書|手紙|メール|メモ|メッセージ|物語|(?<!電)話(?!題|番)|詩|小説|日記|対話|会話|役|人物|台詞|セリフ|スピーチ|歌詞|歌(?!手)|独白|場面|文|引用|訳|言い換え|直し|変え|変換|完成|続け|続き|返事|返信|想像|お詫び|苦情|感想|例|俳句|ツイート|視点|自己紹介|描写|と言う|言い方|話し方|伝え方|謝り方|断り方|言葉遣い|どう言|何と|なんて",
    "ko": "써|쓰|작성|편지|이메일|메일|쪽지|메모|메시지|이야기|시를|시로|시인|소설|일기|대화|역할|인물|대사|연설|가사|노래|독백|장면|문장|인용|번역|바꿔|바꾸|고쳐|고치|완성|이어|답장|대답|상상|사과|불만|후기|예시|예를|하이쿠|트윗|관점|자기소개|묘사|소개|말할|말하|말했|뭐라고|라고 할",
    "th": "เขียน|จดหมาย|อีเมล|โน้ต|บันทึก|ข้อความ|เรื่อง|เล่า|กลอน|กวี|นิยาย|ไดอารี|บทสนทนา|สนทนา|บทบาท|ตัวละคร|สุนทรพจน์|เพลง|บทพูด|ฉาก|ประโยค|อ้าง|แปล|แก้|เปลี่ยน|เติม|ต่อ|ตอบ|จินตนาการ|ขอโทษ|ร้องเรียน|รีวิว|ตัวอย่าง|ไฮกุ|ทวีต|มุมมอง|แนะนำตัว|บรรยาย|พูด|กล่าว|ว่าอะไร|ว่าอย่างไร",
}
"""What a task asks for where its answer may speak of itself in somebody's voice: letters, tales, sentences, texts to be changed."""

HOW_TO = (
    r"^\W*(?:how (?:(?:do|does|can|could|should|would|to)\b|(?:is|are)\b(?![^.?!]{0,60}\b(?:now|at the moment|today|tonight|currently|as we speak)\b))|why\b|¿?(?:cómo\b(?! (?:está|están|va|van|anda|andan)\b)|por qué\b)|comment\b(?! (?:est|va|vont|sont|se porte)\b)|pourquoi\b|"
    r"wie (?:kann|können|macht|man|nimmt|funktioniert|schreib|öffne|zeichne)|warum\b|wieso\b|como\b(?! (?:está|estão|vai|vão|anda|andam)\b)|por que\b|bagaimana (?:cara|proses)|mengapa\b|"
    r"как (?!\w+ сегодня|сейчас)\w+|почему|làm (?:thế nào|sao)|vì sao|tại sao|كيف (?:يمكن|أ|ن|ت)|لماذا|왜)|"
    r"方法|やり方|どうやって|どのように|どう(?:作|でき|決ま|計算)|なぜ|방법|어떻게 (?:하|해|만들|정해|계산|이루)|วิธี|ทำไม|ทำอย่างไร|เกิดขึ้นได้อย่างไร|cách để|cách |"
    r"\b(?:explain|describe|explica|explique|décri\w*|expliquez?|erklär\w*|beschreib\w*|jelaskan|giải thích)\b.{0,60}\b(?:is|are|get|gets) (?:made|produced|calculated|computed|set|determined)\b|\bbagaimana\b.{0,60}\b(?:dibuat|disusun|dihitung|ditentukan|terbentuk)\b|"
    r"\bse (?:hacen?|elaboran?|calculan?|fazem?|faz|elaboram?|calculam?|fijan?)\b|\b(?:entsteh\w*|berechnet|gemacht wird|est (?:faite?|calculée?)|sont (?:faits|calculés))\b|\b(?:составля\w+|вычисля\w+|рассчитыва\w+)\b"
)
"""Questions about how something is done, which a text answers."""

CODE_TASK = (
    r"\b(?:code|coding|program|programme|function|script|python|java(?:script)?|html|css|sql|php|ruby|bash|shell|command|algorithm|api|ascii|regex|excel|"
    r"c[óo]digo|función|programa|função|algoritmo|fonction|algorithme|funktion|programm|befehl|skript|kode|fungsi|perintah|mã|hàm|chương trình|lệnh|svg|latex)\b|"
    r"C\+\+|C#|код|функци|программ|скрипт|алгоритм|команд|コード|関数|プログラム|スクリプト|アルゴリズム|코드|함수|프로그램|스크립트|알고리즘|โค้ด|โปรแกรม|ฟังก์ชัน|คำสั่ง|كود|برنامج|دالة|خوارزمية"
)
"""Tasks on programs, which may open files and draw pictures."""
