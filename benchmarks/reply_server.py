"""A chat-completions server for `benchmarks.generate`: replies in the language that the prompt asks for, after a latency, at little cost.

    python -m benchmarks.reply_server LATENCY_S TASKS REPLIES

It prints its port. REPLIES are made for each language before the first request, and a prompt's checksum chooses one,
so that what the server itself takes from the processor is reading and sending.
"""

import asyncio
import contextlib
import json
import random
import re
import sys
import zlib

FRAMES: dict[str, tuple[str, str, str, str]] = {
    "Arabic": (
        "اكتب فقرة قصيرة عن {}",
        "وصلت الرسالة إلى {} صباح اليوم",
        "ثم ذهبنا إلى {} مع الأصدقاء وتحدثنا عن {} حتى المساء",
        "النهر المصباح الحجر السوق الحديقة الشتاء المحرك الغابة المرآة الجسر الشمعة المعلم الجزيرة النافذة الكوكب الميناء التذكرة السلة النحاس الرعد المرج القلم البستان الفلفل المرساة الزر الطريق القارب الخبز البيت",
    ),
    "German": (
        "Schreibe einen kurzen Absatz über {}",
        "Der Brief für {} kam heute Morgen an",
        "Danach gingen wir mit den Freunden zu {} und sprachen bis zum Abend über {}",
        "Fluss Lampe Stein Markt Garten Winter Motor Wald Spiegel Brücke Kerze Lehrer Insel Fenster Planet Hafen Fahrkarte Korb Kupfer Donner Wiese Bleistift Sattel Laterne Pfeffer Anker Knopf Zirkus Brot Haus",
    ),
    "Spanish": (
        "Escribe un párrafo breve sobre {}",
        "La carta para {} llegó esta mañana",
        "Después fuimos con los amigos a {} y hablamos de {} hasta la noche",
        "río lámpara piedra mercado jardín invierno motor bosque espejo puente vela maestro isla ventana planeta puerto billete cesta cobre trueno prado lápiz silla farol pimienta ancla botón circo pan casa",
    ),
    "French": (
        "Écris un court paragraphe sur {}",
        "La lettre pour {} est arrivée ce matin",
        "Ensuite nous sommes allés avec les amis vers {} et nous avons parlé de {} jusqu'au soir",
        "rivière lampe pierre marché jardin hiver moteur forêt miroir pont bougie professeur île fenêtre planète port billet panier cuivre tonnerre prairie crayon selle lanterne poivre ancre bouton cirque pain maison",
    ),
    "Indonesian": (
        "Tulislah sebuah paragraf singkat tentang {}",
        "Surat untuk {} tiba pagi ini",
        "Setelah itu kami pergi bersama teman ke {} dan berbicara tentang {} sampai malam",
        "sungai lampu batu pasar kebun dingin mesin hutan cermin jembatan lilin guru pulau jendela planet pelabuhan tiket keranjang tembaga guntur rumput pensil pelana lentera lada jangkar kancing sirkus roti rumah",
    ),
    "Japanese": (
        "{}について短い文章を書いてください",
        "{}あての手紙が今朝とどきました",
        "それから友だちと{}へ行き、夜まで{}のことを話しました",
        "川 明かり 石 市場 庭 冬 機関車 森 鏡 橋 ろうそく 先生 島 窓 惑星 港 切符 かご 銅 雷 草原 鉛筆 くら 灯台 こしょう いかり ボタン サーカス パン 家",
    ),
    "Korean": (
        "{}에 대해 짧은 글을 써 주세요",
        "{}에게 보낸 편지가 오늘 아침에 도착했습니다",
        "그 다음에 우리는 친구들과 {}에 가서 밤까지 {} 이야기를 했습니다",
        "강 등불 돌 시장 정원 겨울 엔진 숲 거울 다리 양초 선생님 섬 창문 행성 항구 표 바구니 구리 천둥 초원 연필 안장 등대 후추 닻 단추 서커스 빵 집",
    ),
    "Portuguese": (
        "Escreva um parágrafo curto sobre {}",
        "A carta para {} chegou esta manhã",
        "Depois fomos com os amigos para {} e falamos de {} até à noite",
        "rio lâmpada pedra mercado jardim inverno motor floresta espelho ponte vela professor ilha janela planeta porto bilhete cesto cobre trovão prado lápis sela lanterna pimenta âncora botão circo pão casa",
    ),
    "Russian": (
        "Напишите короткий абзац о том, что такое {}",
        "Письмо для героя по имени {} пришло сегодня утром",
        "Потом мы пошли с друзьями туда, где {}, и говорили про {} до самого вечера",
        "река лампа камень рынок сад зима мотор лес зеркало мост свеча учитель остров окно планета гавань билет корзина медь гром луг карандаш седло фонарь перец якорь пуговица цирк хлеб дом",
    ),
    "Thai": (
        "เขียนย่อหน้าสั้น ๆ เกี่ยวกับ{}",
        "จดหมายถึง{}มาถึงเมื่อเช้านี้",
        "หลังจากนั้นเราไปกับเพื่อน ๆ ที่{}และคุยกันเรื่อง{}จนถึงเย็น",
        "แม่น้ำ โคมไฟ ก้อนหิน ตลาด สวน ฤดูหนาว เครื่องยนต์ ป่า กระจก สะพาน เทียน ครู เกาะ หน้าต่าง ดาวเคราะห์ ท่าเรือ ตั๋ว ตะกร้า ทองแดง ฟ้าร้อง ทุ่งหญ้า ดินสอ อานม้า ตะเกียง พริกไทย สมอ กระดุม ละครสัตว์ ขนมปัง บ้าน",
    ),
    "Vietnamese": (
        "Hãy viết một đoạn văn ngắn về {}",
        "Bức thư gửi cho {} đã đến sáng nay",
        "Sau đó chúng tôi cùng các bạn đi đến {} và nói chuyện về {} cho đến tối",
        "sông đèn đá chợ vườn mùa_đông động_cơ rừng gương cầu nến thầy_giáo đảo cửa_sổ hành_tinh bến_cảng vé giỏ đồng sấm đồng_cỏ bút_chì yên_ngựa đèn_lồng tiêu mỏ_neo cúc rạp_xiếc bánh_mì nhà",
    ),
}
"""A language's instruction, input, sentence of an answer, and things to put into them."""

THINGS_ASKED = 14
THINGS_ANSWERED = 12
"""An instruction of 80 to 150 and an answer of 130 to 250 letters; published Spanish MultiAlpaca rows have 75 and 215."""

_LANGUAGE = re.compile("|".join(FRAMES))


def main() -> None:
    """Serve until killed."""
    latency_s, tasks, replies = float(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    bodies = {
        language: [body(language, tasks, random.Random(f"{language}/{n}")) for n in range(replies)]
        for language in FRAMES
    }
    asyncio.run(serve(bodies, latency_s))


def body(language: str, tasks: int, draw: random.Random) -> bytes:
    """An answer in HTTP and JSON with tasks 4, 5 and so on."""
    instruction, entry, sentence, listed = FRAMES[language]
    things = listed.split()

    def some(count: int) -> str:
        return " ".join(draw.sample(things, count)).replace("_", " ")

    lines = []
    for number in range(4, 4 + tasks):
        answer = [sentence.format(some(2), some(2)), entry.format(some(1)), some(THINGS_ANSWERED)]
        shown = entry.format(some(1)) if draw.random() < 0.3 else "<noinput>"
        lines += [
            f"{number}. Instruction: {instruction.format(some(THINGS_ASKED))}.",
            f"{number}. Input: {shown}",
            f"{number}. Output: {'. '.join(answer)}.",
        ]
    message = {"role": "assistant", "content": "\n".join(lines)}
    value = {
        "id": "x",
        "object": "chat.completion",
        "created": 1,
        "model": "scripted",
        "choices": [{"index": 0, "finish_reason": "stop", "message": message}],
        "usage": {"prompt_tokens": 600, "completion_tokens": 60 * tasks, "total_tokens": 1},
    }
    data = json.dumps(value, ensure_ascii=False).encode()
    head = (
        f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
    )
    return head.encode() + data


async def serve(bodies: dict[str, list[bytes]], latency_s: float) -> None:
    """Answer every POST after the latency."""

    async def connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
                asked = await reader.readexactly(length)
                due = loop.time() + latency_s
                prompt = json.loads(asked)["messages"][-1]["content"]
                found = _LANGUAGE.search(prompt)
                chosen = bodies[found[0] if found else "Spanish"]
                answer = chosen[zlib.crc32(asked) % len(chosen)]
                await asyncio.sleep(due - loop.time())
                writer.write(answer)
        writer.close()

    server = await asyncio.start_server(connection, "127.0.0.1", 0, backlog=2048)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    main()
