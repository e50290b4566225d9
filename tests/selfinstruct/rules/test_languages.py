"""Rules in twelve languages, true and false cases: every sentence invented here."""

import pytest

from selfinstruct.rules import RULES, Rules, RuleSettings
from selfinstruct.types import Task


def reason(language, instruction, output, entry=""):
    dropped = (
        Rules(language).judge(Task(instruction=instruction, input=entry, output=output)).dropped
    )
    return dropped.reason if dropped else None


GOOD = [
    ("ar", "اذكر ثلاث فوائد للمشي كل صباح.", "يقوي القلب، ويحسن المزاج، ويساعد على النوم الجيد ليلًا."),
    ("ar", "صف صورة الغروب بكلمات شاعرية.", "الشمس تغوص في البحر كأنها جمرة تنطفئ ببطء."),
    ("de", "Nenne drei Gründe, jeden Morgen spazieren zu gehen.", "Es stärkt das Herz, hebt die Laune und hilft beim Schlafen."),
    ("de", "Erkläre, wie man ein gutes Foto macht.", "Achte auf das Licht, halte die Kamera ruhig und wähle einen klaren Hintergrund."),
    ("de", "Schreibe eine Absage auf eine Einladung.", "Es tut mir leid, ich kann am Samstag leider nicht kommen."),
    ("en", "Give three reasons to walk every morning.", "It strengthens the heart, lifts the mood and helps you sleep."),
    ("en", "Why do old photographs turn yellow?", "The paper and its coating oxidise slowly in light and air."),
    ("en", "Turn down a party invitation politely.", "I'm sorry, but I can't make it on Saturday. Have a lovely evening!"),
    ("en", "Which chatbot reply is a refusal?", "As an AI language model, I cannot help with that."),
    ("es", "Da tres razones para caminar cada mañana.", "Fortalece el corazón, mejora el ánimo y ayuda a dormir."),
    ("es", "¿Por qué se amarillean las fotos antiguas?", "El papel se oxida poco a poco con la luz y el aire."),
    ("es", "¿Cómo se escucha un podcast en el móvil?", "Abre la aplicación de audio, busca el programa y pulsa el botón redondo."),
    ("en", "How do I take a picture of the moon?", "Use a tripod and a short exposure."),
    ("ja", "月の写真を撮る方法は？", "三脚を使い、露出を短くします。"),
    ("es", "Rechaza una invitación a cenar.", "Lo siento, no puedo ir el sábado, pero gracias por pensar en mí."),
    ("fr", "Donne trois raisons de marcher chaque matin.", "La marche renforce le cœur, améliore l'humeur et aide à dormir."),
    ("fr", "Comment réussir une photo de nuit ?", "Posez l'appareil, allongez le temps de pose et évitez le flash."),
    ("id", "Sebutkan tiga alasan berjalan kaki setiap pagi.", "Berjalan kaki menguatkan jantung, memperbaiki suasana hati, dan membantu tidur."),
    ("id", "Mengapa foto lama menguning?", "Kertasnya teroksidasi perlahan oleh cahaya dan udara."),
    ("ja", "毎朝歩くことの利点を三つ挙げてください。", "心臓が強くなり、気分が良くなり、よく眠れるようになります。"),
    ("ja", "写真をうまく撮るこつを教えてください。", "光の向きに気をつけ、カメラをしっかり持つことです。"),
    ("ja", "WHOとは何ですか。", "世界保健機関(World Health Organization)の略で、本部はジュネーブ(Geneva)にあります。"),
    ("ja", "俳句を書いて", "古い橋 渡る子犬の 影ひとつ"),
    ("ko", "매일 아침 걷기의 장점을 세 가지 말해 주세요.", "심장이 튼튼해지고 기분이 좋아지며 잠을 잘 자게 됩니다."),
    ("ko", "오래된 사진은 왜 누렇게 변하나요?", "종이가 빛과 공기 속에서 천천히 산화하기 때문입니다."),
    ("ko", "머신러닝을 설명해 줘.", "기계 학습(machine learning)은 데이터에서 규칙을 찾는 인공지능(AI)의 한 분야입니다."),
    ("pt", "Dê três razões para caminhar todas as manhãs.", "Caminhar fortalece o coração, melhora o humor e ajuda a dormir."),
    ("pt", "Por que as fotos antigas ficam amareladas?", "O papel oxida aos poucos com a luz e o ar."),
    ("ru", "Назови три причины гулять каждое утро.", "Прогулка укрепляет сердце, поднимает настроение и помогает уснуть."),
    ("ru", "Почему старые фотографии желтеют?", "Бумага медленно окисляется на свету и на воздухе."),
    ("th", "บอกเหตุผลสามข้อที่ควรเดินทุกเช้า", "การเดินทำให้หัวใจแข็งแรง อารมณ์ดี และนอนหลับสบาย"),
    ("th", "ทำไมภาพถ่ายเก่าจึงเหลือง", "กระดาษทำปฏิกิริยากับแสงและอากาศอย่างช้า ๆ"),
    ("vi", "Nêu ba lý do để đi bộ mỗi sáng.", "Đi bộ giúp tim khỏe, tâm trạng tốt và ngủ ngon hơn."),
    ("vi", "Vì sao ảnh cũ bị ố vàng?", "Giấy bị oxy hóa dần dưới ánh sáng và không khí."),
    ("es", "Clasifica el sentimiento: «¡Qué día tan bonito!»", "Positivo"),
    ("th", "2 + 2 เท่ากับเท่าไร", "4"),
    ("ja", "「犬」の反対語のように使われる動物は？", "猫"),
    ("es", "Traduce al inglés la frase siguiente sobre el mar.", "The sea is calm today and the boats are coming back to the harbour before the night falls.", "El mar está tranquilo hoy."),
    ("ru", "Напиши функцию на Python, которая читает файл.", "def read_text(path):\n    with open(path) as handle:\n        return handle.read()"),
    ("ja", "Pythonでファイルを開く関数を書いてください。", "def read_text(path):\n    with open(path, encoding='utf-8') as handle:\n        return handle.read()"),
    ("de", "Nenne fünf englische Romane.", "Pride and Prejudice, Wuthering Heights, Great Expectations, Middlemarch, Jane Eyre und noch mehr"),
    ("ko", "김치는 어떤 음식인가요?", "김치(kimchi)는 배추를 소금에 절이고 고춧가루와 마늘로 버무려 발효한 음식입니다."),
]  # fmt: skip


@pytest.mark.parametrize("case", GOOD, ids=lambda case: f"{case[0]} {case[1][:20]}")
def test_good_tasks_stay(case):
    assert reason(*case) is None


REFUSALS = [
    ("ar", "عذرًا، لا أستطيع الإجابة على هذا السؤال."),
    ("ar", "كنموذج لغوي، ليس لدي مشاعر."),
    ("de", "Es tut mir leid, aber ich kann Ihnen dabei nicht helfen."),
    ("de", "Als KI-Sprachmodell habe ich keine Lieblingsfarbe."),
    ("en", "I'm sorry, but I cannot provide that information."),
    ("en", "As an AI language model, I have no favourite colour."),
    ("en", "I am unable to help with this request."),
    ("es", "Lo siento, pero no puedo proporcionar esa información."),
    ("es", "Como modelo de lenguaje, no tengo color favorito."),
    ("fr", "Désolé, je ne peux pas répondre à cette question."),
    ("fr", "En tant qu'IA, je n'ai pas de couleur préférée."),
    ("id", "Maaf, saya tidak dapat memberikan informasi tersebut."),
    ("id", "Sebagai model bahasa AI, saya tidak punya warna kesukaan."),
    ("ja", "申し訳ありませんが、その質問にはお答えできません。"),
    ("ja", "AI言語モデルとして、好きな色はありません。"),
    ("ko", "죄송하지만 그 질문에는 답변드릴 수 없습니다."),
    ("ko", "저는 AI 언어 모델로서 좋아하는 색이 없습니다."),
    ("pt", "Desculpe, mas não posso fornecer essa informação."),
    ("pt", "Como um modelo de linguagem, não tenho cor favorita."),
    ("ru", "Извините, но я не могу ответить на этот вопрос."),
    ("ru", "Как языковая модель, я не имею любимого цвета."),
    ("th", "ขออภัย ฉันไม่สามารถให้ข้อมูลนี้ได้"),
    ("th", "ในฐานะโมเดลภาษา ฉันไม่มีสีที่ชอบ"),
    ("vi", "Xin lỗi, tôi không thể cung cấp thông tin này."),
    ("vi", "Là một mô hình ngôn ngữ, tôi không có màu yêu thích."),
    ("ar", "نأسف، لا نستطيع تلبية طلبكم."),
    ("de", "Tut mir leid, dazu habe ich keine Informationen."),
    ("en", "I do not have personal preferences."),
    ("es", "Me temo que no puedo ayudarle con esto."),
    ("fr", "Désolé, il m'est impossible de répondre à cette demande."),
    ("id", "Maaf, permintaan ini tidak dapat saya penuhi."),
    ("ja", "ごめんなさい、それはできません。"),
    ("ko", "죄송하지만 그건 할 수 없습니다."),
    ("pt", "Infelizmente, não consigo atender a esse pedido."),
    ("ru", "Прошу прощения, но помочь с этим не могу."),
    ("th", "ขออภัยค่ะ ดิฉันทำไม่ได้"),
]
DECLINED = [
    ("ar", "اكتب رسالة إلى صديق فاتك عيد ميلاده.", "آسف لأنني نسيت عيد ميلادك. لنتعشَّ معًا."),
    ("de", "Schreiben Sie eine Absage.", "Leider kann ich die Wohnung nicht nehmen, weil sie zu weit weg ist."),
    ("en", "Write the first line of a diary.", "Unfortunately it rained, and I could not work in the garden."),
    ("es", "Responde a una invitación.", "Lamentablemente no puedo asistir a la boda, pero os deseo felicidad."),
    ("fr", "Répondez à une invitation.", "Malheureusement, je ne peux pas venir samedi, car je travaille."),
    ("id", "Balaslah undangan rapat.", "Mohon maaf, saya tidak dapat hadir karena sedang di luar kota."),
    ("ja", "欠席の連絡を書いてください。", "申し訳ありませんが、明日の会議には出席できません。"),
    ("ko", "불참 연락을 쓰세요.", "죄송하지만 내일 회의에는 참석할 수 없습니다."),
    ("pt", "Responda a um convite.", "Infelizmente, não posso ir no sábado, porque vou trabalhar."),
    ("ru", "Ответьте на приглашение.", "К сожалению, я не могу прийти в субботу, потому что работаю."),
    ("th", "เขียนข้อความแจ้งว่ามาประชุมไม่ได้", "ขออภัยครับ พรุ่งนี้ผมไม่สามารถเข้าประชุมได้เพราะติดธุระ"),
    ("vi", "Viết lời nhắn vắng mặt.", "Xin lỗi, tôi không thể dự cuộc họp ngày mai vì bận việc nhà."),
]  # fmt: skip
ASKED = {
    "ar": "ما هو لونك المفضل؟",
    "de": "Was ist deine Lieblingsfarbe?",
    "en": "What is your favourite colour?",
    "es": "¿Cuál es tu color favorito?",
    "fr": "Quelle est ta couleur préférée ?",
    "id": "Apa warna kesukaanmu?",
    "ja": "好きな色は何ですか。",
    "ko": "좋아하는 색은 무엇인가요?",
    "pt": "Qual é a sua cor favorita?",
    "ru": "Какой твой любимый цвет?",
    "th": "คุณชอบสีอะไร",
    "vi": "Màu yêu thích của bạn là gì?",
}


@pytest.mark.parametrize(("language", "output"), REFUSALS)
def test_refusals_are_dropped_in_every_language(language, output):
    assert reason(language, ASKED[language], output) == "refusal"


@pytest.mark.parametrize("case", DECLINED, ids=lambda case: case[0])
def test_a_letter_that_declines_is_no_refusal(case):
    assert reason(*case) is None


@pytest.mark.parametrize("language", sorted(ASKED))
def test_english_refusals_are_dropped_in_every_language(language):
    assert (
        reason(language, ASKED[language], "As an AI language model, I don't have preferences.")
        == "refusal"
    )


BEYOND = [
    ("ar", "صف الصورة التالية في جملة واحدة."),
    ("ar", "ابحث في الإنترنت عن أفضل المطاعم."),
    ("de", "Beschreibe das folgende Bild in einem Satz."),
    ("de", "Zeichne ein Bild von einem Haus."),
    ("de", "Wie ist das Wetter heute in Bonn?"),
    ("en", "Describe the attached image in one sentence."),
    ("en", "Draw me a picture of a house."),
    ("en", "Search the web for the best restaurants."),
    ("en", "What is the current weather in Rome?"),
    ("es", "Describe la siguiente imagen en una frase."),
    ("es", "Dibuja una imagen de una casa."),
    ("es", "¿Qué hora es?"),
    ("fr", "Décris l'image suivante en une phrase."),
    ("fr", "Dessine une image d'une maison."),
    ("fr", "Cherche sur internet les meilleurs restaurants."),
    ("id", "Jelaskan gambar berikut dalam satu kalimat."),
    ("id", "Bagaimana cuaca hari ini di Bandung?"),
    ("ja", "次の画像を一文で説明してください。"),
    ("ja", "家の絵を描いてください。"),
    ("ja", "今日の天気を教えて。"),
    ("ko", "다음 사진을 한 문장으로 설명하세요."),
    ("ko", "집 그림을 그려 주세요."),
    ("ko", "오늘 날씨는 어때?"),
    ("pt", "Descreva a imagem a seguir em uma frase."),
    ("pt", "Desenhe uma imagem de uma casa."),
    ("pt", "Pesquise na internet os melhores restaurantes."),
    ("ru", "Опиши следующее изображение одним предложением."),
    ("ru", "Нарисуй картинку с домом."),
    ("ru", "Какая сегодня погода в Казани?"),
    ("th", "อธิบายรูปภาพต่อไปนี้ในหนึ่งประโยค"),
    ("th", "วาดรูปบ้านให้หน่อย"),
    ("vi", "Mô tả hình ảnh sau bằng một câu."),
    ("vi", "Vẽ một bức tranh về ngôi nhà."),
    ("vi", "Thời tiết hôm nay ở Huế thế nào?"),
    ("ar", "شاهد الفيديو ولخصه."),
    ("de", "Bitte zeichne mir einen Elefanten."),
    ("en", "Please draw an elephant."),
    ("en", "Look up today's exchange rate for the euro."),
    ("es", "Por favor, dibújame un elefante."),
    ("fr", "Regardez la vidéo et résumez-la."),
    ("id", "Tonton video itu dan ringkaslah."),
    ("ja", "インターネットで安い航空券を検索してください。"),
    ("ko", "오늘 유로 환율은 얼마입니까?"),
    ("pt", "Assista ao vídeo e resuma-o."),
    ("ru", "Какой сегодня курс евро?"),
    ("th", "ดูวิดีโอแล้วสรุป"),
    ("vi", "Vẽ một con mèo trên mái nhà."),
]
WITHIN_TEXT = [
    ("ar", "استخلص نتيجة من هذه الأرقام: 3، 6، 9."),
    ("de", "Zeichnen Sie den Lebensweg einer Erfinderin nach."),
    ("en", "Draw a lesson from the story of the two frogs."),
    ("es", "Dibuja el panorama de la economía local."),
    ("fr", "Écrivez le script d'une vidéo sur le compost."),
    ("id", "Gambarkan suasana pasar pagi dengan kata-kata."),
    ("ja", "良い写真を撮るこつを三つ挙げてください。"),
    ("ko", "사진을 찍는 요령 세 가지를 말하세요."),
    ("pt", "Dê três dicas para tirar boas fotos."),
    ("ru", "Напишите сценарий видео о компосте."),
    ("th", "บอกเคล็ดลับสามข้อในการถ่ายภาพให้สวย"),
    ("vi", "Nêu ba mẹo chụp ảnh đẹp."),
]


@pytest.mark.parametrize(("language", "instruction"), BEYOND)
def test_what_a_model_of_text_lacks_is_told_in_every_language(language, instruction):
    assert reason(language, instruction, GOOD_OUTPUT[language]) == "beyond_text"


GOOD_OUTPUT = {language: output for language, _, output, *_ in reversed(GOOD)}


@pytest.mark.parametrize(("language", "instruction"), WITHIN_TEXT)
def test_pictures_and_films_may_be_spoken_of_in_every_language(language, instruction):
    assert reason(language, instruction, GOOD_OUTPUT[language]) is None


@pytest.mark.parametrize("language", sorted(ASKED))
def test_an_instruction_in_another_language_is_dropped(language):
    other = "ja" if language != "ja" else "ru"
    assert (
        reason(language, next(case[1] for case in GOOD if case[0] == other), GOOD_OUTPUT[language])
        == "wrong_language"
    )


@pytest.mark.parametrize("language", sorted(set(ASKED) - {"en"}))
def test_a_long_english_answer_that_nobody_asked_for_is_dropped(language):
    english = (
        "It strengthens the heart, lifts the mood, and helps you to sleep well through the night."
    )
    assert (
        reason(language, next(case[1] for case in GOOD if case[0] == language), english)
        == "wrong_language"
    )


@pytest.mark.parametrize(
    ("language", "output"),
    [
        ("ja", "私は学生です (watashi wa gakusei desu)。"),
        ("ja", "赤(aka)はりんご、青(ao)は空、きいろ(kiiro)はばなな(banana)の色です。"),
        ("ko", "안녕하세요 (annyeonghaseyo), 감사합니다 (gamsahamnida)라고 말합니다."),
        ("ko", "밥 (bap)과 국 (guk)은 함께 먹습니다."),
        ("ru", "Борщ (borshch), щи (shchi) и уха (ukha)."),
        ("th", "สวัสดี (sawatdi) และ ขอบคุณ (khopkhun) ครับ"),
        ("ru", "Здравствуйте (zdravstvuyte), спасибо (spasibo), пожалуйста (pozhaluysta)."),
        ("ar", "مرحبا (marhaba) وشكرا (shukran) لك يا صديقي (sadiqi)."),
    ],
)
def test_glosses_in_latin_letters_are_dropped(language, output):
    asked = {
        "ja": "例文を書いてください。",
        "ko": "인사말을 알려 주세요.",
        "th": "บอกคำทักทาย",
        "ru": "Приведи вежливые слова.",
        "ar": "اذكر كلمات ودودة.",
    }
    assert reason(language, asked[language], output) == "gloss"


@pytest.mark.parametrize(
    ("language", "output"),
    [
        ("ja", "東京(Tokyo)は日本の首都で、NASA(アメリカ航空宇宙局)とは関係ありません。"),
        (
            "ja",
            "機械学習(machine learning)や深層学習(deep learning)、自然言語処理(NLP)があります。",
        ),
        ("ru", "Сервер (server) отвечает клиенту (client)."),
        ("ar", "منظمة الصحة العالمية (WHO) والبنك الدولي (World Bank) مؤسستان."),
        ("th", "ปัญญาประดิษฐ์ (artificial intelligence) และการเรียนรู้ของเครื่อง (machine learning)"),
        ("ko", "세계보건기구(WHO)와 유엔(United Nations)이 있습니다."),
    ],
)
def test_terms_and_names_in_brackets_are_no_glosses(language, output):
    asked = {
        "ja": "例文を書いてください。",
        "ko": "기구를 알려 주세요.",
        "th": "อธิบายคำศัพท์",
        "ru": "Как устроена сеть?",
        "ar": "اذكر مؤسستين.",
    }
    assert reason(language, asked[language], output) is None


LABELLED = {
    "ar": "٤. التعليمات: اكتب قصيدة", "de": "4. Anweisung: Schreibe ein Gedicht", "en": "4. Instruction: Write a poem",
    "es": "4. Instrucción: Escribe un poema", "fr": "4. Consigne : Écris un poème", "id": "4. Instruksi: Tulis puisi",
    "ja": "４．指示：詩を書いて", "ko": "4. 지시: 시를 써 주세요", "pt": "4. Instrução: Escreva um poema",
    "ru": "4. Инструкция: напиши стихи", "th": "๔. คำสั่ง: เขียนบทกวี", "vi": "4. Hướng dẫn: Viết bài thơ",
}  # fmt: skip


@pytest.mark.parametrize("language", sorted(LABELLED))
def test_a_label_left_in_a_text_is_found_in_every_language(language):
    text = f"{GOOD_OUTPUT[language]}\n{LABELLED[language]}"
    assert reason(language, ASKED[language], text) == "left_label"
    assert reason(language, ASKED[language], f"{GOOD_OUTPUT[language]} <noinput>") == "left_label"


PLACEHOLDERS = {
    "ar": "عزيزي [الاسم]، شكرًا لك.", "de": "Liebe Frau [Name einfügen], vielen Dank.", "en": "Dear [Your Name], thank you.",
    "es": "Estimado [nombre del cliente], gracias.", "fr": "Cher [votre nom], merci beaucoup.", "id": "Yth. [Nama Anda], terima kasih.",
    "ja": "〇〇様、ありがとうございます。", "ko": "[이름]님께, 감사합니다.", "pt": "Prezado [seu nome], obrigado.",
    "ru": "Уважаемый [ваше имя], спасибо.", "th": "เรียนคุณ [ชื่อ] ขอบคุณมาก", "vi": "Kính gửi [tên của bạn], cảm ơn.",
}  # fmt: skip


@pytest.mark.parametrize("language", sorted(PLACEHOLDERS))
def test_a_gap_is_found_in_every_language(language):
    assert reason(language, ASKED[language], PLACEHOLDERS[language]) == "placeholder"


def test_every_rule_has_a_switch_of_its_name():
    for rule in RULES:
        assert RuleSettings.model_fields[rule.name].annotation is bool
    for language, output in REFUSALS:
        task = Task(instruction=ASKED[language], output=output)
        assert Rules(language, RuleSettings(refusal=False)).judge(task).dropped is None


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        (
            "Der Wasserhahn in der Küche tropft seit Montag, und unter dem Becken steht schon eine Pfütze.",
            "wrong_language",
        ),
        (
            "Problem: In der Bergstraße fahren die Autos zu schnell. Lösung: zwei Schwellen vor der Schule.",
            "wrong_language",
        ),
        (
            "Heinrich Böll, Anna Seghers, Ingeborg Bachmann, Thomas Bernhard, Christa Wolf, Günter Grass",
            None,
        ),
    ],
    ids=["prose", "notes", "names"],
)
def test_german_prose_is_no_list_of_names_for_its_capital_nouns(output, expected):
    assert reason("es", "Resume la queja del vecino en una frase.", output) == expected
