"""Refusals and requests beyond text in the words of today's models and people, beside what only looks like them."""

import pytest

from selfinstruct.rules import RuleSettings
from selfinstruct.rules.demands import beyond_text, refusal
from selfinstruct.types import Task

ASKED = {"ar": "أي حاسوب أشتري؟", "de": "Was hast du vor?", "en": "Which laptop should I buy?", "es": "¿Qué planes tienes?", "fr": "Quels sont tes projets ?",
         "id": "Apa rencanamu?", "ja": "予定は？", "ko": "무슨 계획이 있어?", "pt": "Quais são seus planos?", "ru": "Какие у тебя планы?", "th": "มีแผนอะไร", "vi": "Bạn có dự định gì?"}  # fmt: skip
REFUSALS = [
    ("ar", "لا أرى أي صورة مرفقة. هل يمكنك رفعها مرة أخرى؟"),
    ("ar", "معرفتي تتوقف عند عام 2023، لذلك لا أعرف من فاز."),
    ("de", "Links kann ich nicht öffnen, aber wenn Sie den Artikel einfügen, fasse ich ihn gern zusammen."),
    ("de", "Diese Bitte muss ich ablehnen, da sie Schaden anrichten könnte."),
    ("en", "It looks like no text was included with your request. Please paste the article."),
    ("en", "I can't make purchasing decisions for you."),
    ("es", "Solo soy un programa informático, no tengo película favorita."),
    ("es", "No veo ninguna imagen adjunta. ¿Podrías volver a subirla?"),
    ("fr", "Je crains de ne pas pouvoir ouvrir le fichier que vous mentionnez."),
    ("fr", "Mes connaissances s'arrêtent en 2023, je ne sais donc pas qui a gagné."),
    ("id", "Saya tidak memiliki akses ke data waktu nyata, jadi saya tidak bisa menyebutkan harga saat ini."),
    ("ja", "リアルタイムのデータにはアクセスできないため、現在の価格はわかりません。"),
    ("ja", "文章が添付されていないようです。要約したい記事を貼り付けてください。"),
    ("ko", "저는 사람처럼 감정을 느끼지 않습니다."),
    ("ko", "원문 없이는 이 작업을 완료할 수 없습니다."),
    ("pt", "Desculpe, mas esse pedido vai contra as minhas diretrizes e não posso atendê-lo."),
    ("ru", "К сожалению, открыть указанный файл у меня не получится."),
    ("ru", "Поскольку я искусственный интеллект, у меня нет личных воспоминаний."),
    ("th", "ฉันเปิดลิงก์ไม่ได้ แต่ถ้าคุณวางบทความมา ฉันจะสรุปให้"),
    ("vi", "Tôi không mở được liên kết, nhưng nếu bạn dán bài báo vào đây tôi sẽ tóm tắt."),
]  # fmt: skip
NO_REFUSALS = [
    ("ar", "أكمل القصة.", "لا أستطيع رؤية أي شيء في الكهف، ومصباحي انطفأ."),
    ("de", "Stell dich als Wissenschaftlerin vor.", "Als KI-Forscherin verbringe ich meine Tage mit Daten."),
    ("de", "Übersetze ins Deutsche: I cannot help you.", "Ich kann Ihnen nicht helfen."),
    ("en", "Explain why penguins do not fly.", "Penguins cannot fly because their wings evolved for swimming."),
    ("en", "Who are you in this role play?", "As an AI researcher, I spend most of my days labelling data."),
    ("en", "Write a text message to a neighbour.", "Sorry, I can't water your plants next week, I'll be away."),
    ("es", "Escribe una entrada de diario de una enfermera.", "No tengo fuerzas para seguir hoy, pero me necesitan."),
    ("fr", "Écris un monologue de détective.", "Je ne vois pas comment il a pu ouvrir le coffre sans la clé."),
    ("id", "Tulis pesan untuk sepupu.", "Aku ingin membantumu, tetapi bulan ini aku tidak bisa meminjamkan uang."),
    ("ja", "ペンギンが飛べない理由を説明して。", "ペンギンの翼は泳ぐためのもので、空を飛ぶことはできません。"),
    ("ko", "펭귄이 날지 못하는 이유를 설명해 줘.", "펭귄의 날개는 헤엄치기 위한 것이어서 하늘을 날 수 없습니다."),
    ("pt", "Escreva a fala de um personagem tímido.", "Não tenho nada a dizer, de verdade."),
    ("ru", "Напиши записку двоюродному брату.", "Я бы рад помочь, но в этом месяце не могу одолжить денег."),
    ("th", "เขียนอีเมลจากอาจารย์ถึงนักศึกษา", "ครั้งนี้ครูขยายเวลาให้ไม่ได้ เพราะต้องส่งเกรดวันศุกร์"),
    ("vi", "Viết tiếp câu chuyện.", "Tôi không thể nhìn thấy gì trong hang, đèn pin cũng đã tắt."),
]  # fmt: skip
BEYOND = [
    ("ar", "هل الصيدلية في الشارع الرئيسي مفتوحة الآن؟"),
    ("ar", "اقرأ ملف PDF الذي رفعته ولخص أهم نقاطه."),
    ("de", "Finde online heraus, was ein Ticket nach Rom dieses Wochenende kostet."),
    ("de", "Mach das Licht in meinem Schlafzimmer aus."),
    ("en", "Here is a photo of my living room. How should I redecorate it?"),
    ("en", "What are people saying on Twitter about the new phone?"),
    ("es", "Graba un mensaje de voz felicitando a mi madre."),
    ("es", "¿Quién ganó el partido de anoche?"),
    ("fr", "Convertis ce document Word en PDF."),
    ("fr", "Que montre le graphique de l'image ?"),
    ("id", "Apakah sekarang sedang hujan di Medan?"),
    ("ja", "山と湖の壁紙を作って。"),
    ("ja", "wikipedia.orgにアクセスして、フクロウの最初の段落をコピーして。"),
    ("ko", "첨부한 녹음을 글로 옮겨 주세요."),
    ("ko", "이번 주말 로마행 항공권이 얼마인지 인터넷으로 알아봐 주세요."),
    ("pt", "Ouça esta melodia e diga quem a compôs."),
    ("ru", "Узнай в интернете, сколько стоит билет в Рим на эти выходные."),
    ("ru", "Определи птицу на этой фотографии."),
    ("th", "ในภาพมีรถกี่คัน"),
    ("vi", "Nhiệt độ ở Oslo bây giờ là bao nhiêu?"),
]  # fmt: skip
WITHIN_TEXT = [
    ("ar", "سترة ثمنها 80 دينارًا خُفضت بنسبة 15 بالمئة. كم ثمنها الآن؟"),
    ("de", "Eine Jacke kostet 80 Euro und wird um 15 Prozent gesenkt. Was kostet sie jetzt?"),
    ("en", "Describe the picture that Dickens paints of London."),
    ("en", "What is the closest planet to the Sun?"),
    ("en", "Write alt text for an image of a bicycle leaning on a wall."),
    ("es", "¿Cuál es el segundo planeta más cercano al Sol?"),
    ("fr", "Donne trois conseils pour naviguer sur internet en sécurité."),
    ("id", "Bandingkan membaca berita di internet dengan membaca koran."),
    ("ja", "リサイクルについての二分間の動画の台本を書いてください。"),
    ("ko", "두 무용수를 그린 그림의 제목을 지어 주세요."),
    ("pt", "Explique o que determina a taxa de câmbio entre duas moedas."),
    ("ru", "Запишите телефонное сообщение списком с пунктами «звонил», «время», «тема»."),
    ("th", "เสื้อราคา 80 บาทลด 15 เปอร์เซ็นต์ ตอนนี้ราคาเท่าไร"),
    ("vi", "Viết chú thích cho một bức ảnh hoàng hôn trên biển."),
]  # fmt: skip


@pytest.mark.parametrize(("language", "output"), REFUSALS)
def test_a_refusal_is_told_by_what_only_an_assistant_denies(language, output):
    task = Task(instruction=ASKED[language], output=output)
    assert refusal(task, language, RuleSettings())


@pytest.mark.parametrize(("language", "instruction", "output"), NO_REFUSALS)
def test_a_voice_that_cannot_do_something_else_is_no_refusal(language, instruction, output):
    assert refusal(Task(instruction=instruction, output=output), language, RuleSettings()) is None


@pytest.mark.parametrize(("language", "instruction"), BEYOND)
def test_what_is_asked_of_eyes_hands_and_the_present_is_beyond_text(language, instruction):
    assert beyond_text(Task(instruction=instruction, output="x"), language, RuleSettings())


@pytest.mark.parametrize(("language", "instruction"), WITHIN_TEXT)
def test_what_can_be_written_or_computed_is_within_text(language, instruction):
    task = Task(instruction=instruction, output="x")
    assert beyond_text(task, language, RuleSettings()) is None


def test_an_inability_is_no_refusal_where_a_text_is_given():
    asked = Task(instruction="Is this true?", input="Pigs cannot fly.", output="I cannot say so.")
    assert refusal(asked, "en", RuleSettings()) is None
    alone = Task(instruction="Do pigs fly?", output="I cannot say so.")
    assert refusal(alone, "en", RuleSettings())
