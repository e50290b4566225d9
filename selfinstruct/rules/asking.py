"""Patterns of requests beyond text, built from each language's words for pictures and sound, the web, the present, and acts.

Pictures may be spoken of: a caption for a photo, a film's script and a painting's title are text. What is beyond it is to
look at one that was not sent, to make one, to look something up, to know what is so now, or to act in the world. The
patterns are applied elsewhere; `phrases` has further ones.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache


@dataclass(frozen=True, kw_only=True)
class Words:
    """The words of one language, each a pattern of alternatives."""

    media: str
    """Pictures, films and sound."""

    facts: str
    """What changes from day to day: weather, prices, news."""

    now: str
    """The present."""

    clauses: tuple[str, ...]
    """How these are put together; MEDIA, FACTS, NOW and START (of a sentence) stand for them, GAP for what lies within one."""


_START = r"^|[.!?:;¿¡…。！？؟\n]\s*"
_GAP = r"[^.!?。！？؟\n]"


@cache
def asking(language: str) -> str:
    """The pattern of a language's requests beyond text; empty for a language without words here."""
    words = _WORDS.get(language)
    if words is None:
        return ""
    pattern = "|".join(words.clauses)
    for name, meant in (
        ("MEDIA", words.media),
        ("FACTS", words.facts),
        ("NOW", words.now),
        ("START", _START),
    ):
        pattern = pattern.replace(name, f"(?:{meant})")
    return pattern.replace("GAP", _GAP)


_WORDS: Mapping[str, Words] = {
    "en": Words(
        media=r"image|photo|photograph|picture|screenshot|video|clip|audio|recording|footage|infographic|selfie",
        facts=r"weather|temperature|forecast|time|news|headlines?|prices?|stocks?|shares?|exchange rate|scores?|traffic|tickets?|flights?|bitcoin|air quality|cost|costs",
        now=r"right now|at the moment|currently|today|tonight|tomorrow|this (?:week(?:end)?|morning|evening|afternoon)|as of now|at this moment|just now",
        clauses=(
            r"\b(?:this|these|attached|uploaded|accompanying|enclosed) (?:\w+ ){0,2}?(?:MEDIA|melody|sound bite|sound clip|pdf|spreadsheet)s?\b(?! (?:album|editing|editor|games?|format|captions?|titles?|descriptions?|file name|books?|frames?|scripts?|essay))",
            r"\b(?:MEDIA)s? (?:below|above|attached|shown (?:here|below|above)|that I|that's attached|I (?:have |just )?(?:attached|uploaded|sent|shared|posted|took)|linked)\b",
            r"\b(?:what|who|where|which|how many|describe|identify|count|name|list|tell me|explain|read)\b(?:GAP){0,60}\b(?:in|from|on) (?:the|this) (?:picture|image|photo|photograph|screenshot|recording|clip|video)\b(?! (?:of|album|book|frame|editing|game))",
            r"START(?:please |can you |could you |first,? |now,? )?(?:look at|take a look at|watch|listen to|view|open|examine|observe|transcribe|scan|caption|play) (?:the|this|my|these|that|our) (?:\w+ ){0,2}?(?:MEDIA|files?|pdf|attachments?|link|song|melody|podcast|web ?page|url|spreadsheet|website|voice (?:note|message|memo))s?\b",
            r"START(?:please |can you |could you )?(?:summari[sz]e|analy[sz]e|describe|translate|read|review|proofread|rate) (?:the|this|my) (?:\w+ )?(?:MEDIA|pdf|attachment|attached \w+|link|web ?page|url|spreadsheet)s?\b(?! (?:of|album|editing|games?|format|captions?|books?|frame|described|below:|that \w+ (?:paints|draws)))",
            r"\b(?:pdf|file|document|spreadsheet|report|MEDIA)s? (?:that |which )?I(?:'ve| have|'m)? (?:just )?(?:uploaded|attached|attaching|sent|linked)\b",
            r"START(?:please |can you |could you |I want you to |I'd like you to )?(?:generate|create|draw|paint|sketch|produce|render|make|design|illustrate|edit|crop|colou?ri[sz]e|photoshop)(?: me| us)? (?:an?|the|some|two|three|another|my|this) (?:[\w-]+,? ){0,3}?(?:image|picture|photo|photograph|painting|drawing|illustration|logo|animation|gif|video|infographic|portrait|selfie|collage|3d model|pie chart|bar chart|background)s?\b(?!-)(?! (?:scripts?|titles?|captions?|prompts?|descriptions?|ideas?|concepts?|games?|slogans?|with words|in words|using (?:only )?words|of words|story|stories|essay|books?|boards?|outline|series|campaign|plan|design brief|room))",
            r"START(?:please |can you |could you |use the internet to )?(?:search|browse|google|look up|look online|check|find out|research)\b(?:GAP){0,50}\b(?:online|on the (?:internet|web)|the internet|the web|(?:on|with|using|via) (?:google|bing|youtube|wikipedia|twitter|reddit|amazon|ebay))\b",
            r"START(?:please |can you |could you )?find (?:me )?(?:\w+ ){0,6}?(?:online|on the (?:internet|web)|on (?:google|youtube|amazon))(?= (?:how|what|that|and|for)\b|\s*[.?!]|$)(?<!safe online)(?<!money online)",
            r"START(?:please |can you |could you )?(?:visit|check|go to|open|access|consult|click(?: on)?|read|see|follow|scrape|log in to|look at) (?:the |this |that |my )?(?:[\w'.-]+ ){0,3}?(?:website|web ?page|web site|link|url|home ?page|inbox|news feed)\b(?! (?:of life|between))",
            r"\b(?:give|send|share|post|provide|find)(?: me| us)? (?:an?|the|some|three|five) (?:\w+ )?(?:links?|urls?) (?:to|for|of)\b",
            r"\b(?:what(?:'s| is| are| will)|how (?:much|warm|cold|hot|high|expensive)|tell me|give me|check|find|get|show me|look up|fetch)\b(?:GAP){0,16}?\b(?:FACTS)\b(?:GAP){0,40}?\b(?:NOW)\b",
            r"\bhow (?:much|warm|cold|hot|long)\b(?:GAP){0,60}\b(?:costs?|is it|take|going for)\b(?:GAP){0,24}\b(?:right now|at the moment|today|this week(?:end)?)\b",
            r"\b(?:what(?:'s| is| are)|tell me|give me|check|find|get|show me|look up|fetch|list)\b(?:GAP){0,14}\b(?:today's|tonight's|tomorrow's|the current|the latest|this week's|live) (?:[\w-]+ ){0,2}?(?:FACTS)\b(?! (?:affect|of day))",
            r"\b(?:will it|is it going to|is it) (?:rain|snow|sunny|raining|snowing)\b(?:GAP){0,30}\b(?:NOW)\b|\bwho (?:won|is winning|is playing)\b(?:GAP){0,30}\b(?:last night|today|tonight|yesterday|right now)\b",
            r"START(?:please |can you |could you )?(?:set (?:an? |me an? )(?:alarm|timer|reminder)|remind me (?:to|at|in|about)|(?:book|reserve|order|buy)(?: me| us)? (?:an?|the|two|some) (?:\w+ ){0,2}?(?:flight|table|hotel|room|taxi|tickets?|pizza|seat|cab)\b|turn (?:on|off) the (?:lights?|heating|tv|alarm)|(?:save|export|download|upload|convert|attach)\b(?:GAP){0,40}\b(?:as an? |to an? |to my |into an? )(?:pdf|\w+ file|file|folder|drive|desktop|disk|docx|mp3)\b|take (?:a |an )(?:screenshot|photo|selfie|picture))",
        ),
    ),
    "es": Words(
        media=r"im[aá]gen(?:es)?|fotos?|fotografías?|v[ií]deos?|audios?|grabaci(?:ón|ones)|capturas? de pantalla|videoclip",
        facts=r"tiempo|clima|temperatura|pronóstico|noticias?|titulares?|precios?|cotización|acciones|tipo de cambio|tráfico|hora|bitcoin|vuelos?|billetes?|boletos?|entradas?|resultado",
        now=r"ahora(?: mismo)?|en este momento|actualmente|hoy|esta (?:noche|tarde|mañana|semana)|mañana|este fin de semana",
        clauses=(
            r"\b(?:est[aeo]s?|es[aeo]s?|siguientes?) (?:\w+ )?(?:MEDIA|melodía)\b(?! (?:álbum|mental))|\b(?:MEDIA) (?:\w+ )?(?:adjunt|de (?:abajo|arriba)|siguiente|que (?:te |le )?(?:adjunt|he|env|mand|sub|comp|acab)|aquí|anterior|mostrad|proporcionad)\w*",
            r"\b(?:qué|quién|dónde|cuánt[oa]s|cuál|describe|identifica|cuenta|nombra|lee|di|explica)\b(?:GAP){0,60}\b(?:en|de) la (?:imagen|foto|fotografía|grabación)\b(?! (?:de|que (?:tiene|proyecta)))",
            r"START(?:por favor,? |puedes |podrías |primero,? )?(?:mir|ve|vea|observ|escuch|abr|transcrib|examin|reproduc|analiz|o[ií]g)\w* (?:bien )?(?:el|la|este|esta|esa|ese|mi|los|las) (?:\w+ )?(?:MEDIA|archivo|PDF|enlace|canción|melodía|podcast|página web|hoja de cálculo|nota de voz|mensaje de voz)\b(?! de (?:la vida|conducta))",
            r"\b(?:PDF|archivo|documento|informe|hoja de cálculo|MEDIA) (?:que )?(?:te |le |os )?(?:he |acabo de )?(?:subid|adjunt|envi|mand|compart|carg|sub)\w*",
            r"START(?:por favor,? |puedes |podrías |quiero que |necesito que )?(?:gener|cre|dibuj|pint|diseñ|elabor|produ[cz]|haz|haga|edit|recort|ilustr|realiz)\w*(?:me|nos)? (?:un|una|el|la|unos|mi|esta|este) (?:[\w-]+ ){0,2}?(?:imagen|foto|fotografía|pintura|dibujo|ilustración|logo|logotipo|animación|GIF|vídeo|video|infografía|retrato|boceto|collage|fondo de pantalla|caricatura)s?\b(?! (?:mental|verbal|con palabras|poétic|de marca|corporativ|positiv|publicitario de texto))",
            r"START(?:por favor,? |puedes |podrías |me )?(?:busc|averigu|consult|investig|mir|encuentr|comprueb|navega)\w*(?:me)? (?:\S+ ){0,8}?(?:en|por) (?:internet|la web|la red|línea|google|youtube|wikipedia|amazon)\b(?! (?:con seguridad|de forma segura))",
            r"START(?:por favor,? |puedes |podrías )?(?:consult|visit|entr|abr|acced|mir|le[ae]|revis|ve a|haz clic en)\w* (?:en |a |al |el |la |los |este |esta )*(?:\w+ ){0,2}?(?:web|página web|sitio|sitio web|página de inicio|portal|enlace|bandeja de entrada)\b",
            r"\b(?:dame|envíame|pásame|comparte|proporciona|manda)(?:me)? (?:un|el|los|unos|algún) (?:enlaces?|links?|URL)\b",
            r"\b(?:qué|cuál(?:es)?|cuánt[oa]s?|cómo (?:está|va)|a cuánto|dime|dame|busca|consulta|muéstrame)\b(?:GAP){0,24}?\b(?:FACTS)\b(?:GAP){0,36}?\b(?:NOW)\b|\bcuánto (?:cuesta|vale|está)\w*(?:GAP){0,40}\b(?:ahora|hoy|este fin de semana|en este momento|esta semana)\b|\b(?:va a llover|lloverá|nevará|está lloviendo)\b",
            r"START(?:por favor,? |puedes |podrías )?(?:pon(?:me)?|programa|configura|activa) (?:una? |el )(?:alarma|temporizador|recordatorio)|\brecuérdame\b|START(?:por favor,? |puedes )?(?:reserv|compr|p[ií]d)\w*(?:me|nos)? (?:un|una|el|dos) (?:\w+ )?(?:vuelo|mesa|hotel|habitación|taxi|billete|entrada|pizza)s?\b|START(?:guard|export|descarg|sub|conviert)\w*(?:GAP){0,40}\b(?:en|como|a) (?:un |mi |formato )?(?:PDF|archivo|carpeta|escritorio)\b",
        ),
    ),
    "fr": Words(
        media=r"images?|photos?|photographies?|vidéos?|audios?|enregistrements?|captures? d'écran|clips?",
        facts=r"temps|météo|température|prévisions|actualités?|nouvelles|titres?|prix|cours|actions?|taux de change|circulation|trafic|heure|bitcoin|vols?|billets?|score",
        now=r"maintenant|en ce moment|actuellement|aujourd'hui|ce (?:soir|matin|week-end)|cette semaine|demain|à l'instant",
        clauses=(
            r"\b(?:cette|ce|cet|ces|suivante?s?) (?:\w+ )?(?:MEDIA|mélodie|extrait (?:audio|vidéo))\b|\b(?:MEDIA) (?:\w+ )?(?:ci-(?:dessous|dessus|joint|après)|jointe?|suivante?|que (?:je|j')|fournie?|affichée?)\w*",
            r"\b(?:que|qu'|qui|où|combien|quel\w*|décri\w+|identifie\w*|compte\w*|nomme\w*|dis|dites)\b(?:GAP){0,60}\b(?:sur|dans|de) (?:l'image|la photo|la photographie|l'enregistrement|la capture)\b(?! (?:de|du|des|que))",
            r"START(?:s'il (?:te|vous) plaît,? |peux-tu |pouvez-vous |pourriez-vous )?(?:regard|observ|écout|ouvr|transcri|examin|analys|lan[cç]|visionn)\w* (?:bien |attentivement )?(?:le |la |l'|cette |ce |cet |mon |ma |les )(?:\w+ )?(?:MEDIA|fichier|PDF|lien|chanson|mélodie|podcast|page web|message vocal|tableur)\b",
            r"\b(?:PDF|fichier|document|rapport|tableur|MEDIA) (?:que )?(?:je |j'(?:ai )?)(?:te |vous |viens de )?(?:téléversé|joint|joins|envoyé|envoie|partagé|importé|chargé|transmis|mis)\w*",
            r"START(?:s'il (?:te|vous) plaît,? |peux-tu |pouvez-vous |je veux que tu )?(?:génèr|génér|cré|dessin|pein|conç|conce|produi|fais|faites|réalis|illustr|retouch|édit|montr)\w*(?:-moi|-nous)? (?:une?|le|la|l'|mon|ma|cette|deux) ?(?:[\w-]+ ){0,2}?(?:image|photo|photographie|peinture|dessin|illustration|logo|animation|GIF|vidéo|infographie|portrait|croquis|collage|caricature|affiche)s?\b(?! (?:mentale|verbale|de marque|poétique|avec des mots|en mots))",
            r"START(?:s'il (?:te|vous) plaît,? |peux-tu |pouvez-vous )?(?:cherch|recherch|trouv|consult|vérifi|regard|navigu|renseigne)\w*(?:-moi|-toi)? (?:\S+ ){0,8}?(?:en ligne|sur (?:internet|le web|le net|la toile|google|youtube|wikipédia|amazon))\b(?! en (?:toute )?sécurité)",
            r"START(?:s'il (?:te|vous) plaît,? |peux-tu |pouvez-vous )?(?:consult|visit|va sur|allez sur|ouvr|accèd|accéd|li[sr]|regard|cliqu|rends-toi sur)\w* (?:sur |à |au |le |la |les |l'|ce |cette )*(?:\w+ ){0,2}?(?:site|page web|page d'accueil|lien|portail|boîte de réception)\b",
            r"\b(?:donne|envoie|partage|fournis|fournissez|donnez|envoyez)(?:-moi|-nous)? (?:un|le|les|des|quelques) (?:liens?|URL)\b",
            r"\b(?:quel\w*|combien|comment est|donne|dis|dites|donnez|cherche|vérifie|montre)\b(?:GAP){0,24}?\b(?:FACTS)\b(?:GAP){0,36}?\b(?:NOW)|\bquelle température (?:fait-il|il fait)|\bcombien (?:coûte|vaut|coûtent)(?:GAP){0,40}\b(?:aujourd'hui|en ce moment|ce week-end|maintenant|cette semaine)|\b(?:va-t-il pleuvoir|pleuvra-t-il|est-ce qu'il (?:pleut|va pleuvoir)|il (?:va )?(?:pleut|pleuvoir) (?:demain|aujourd'hui))\b",
            r"START(?:s'il (?:te|vous) plaît,? |peux-tu |pouvez-vous )?(?:met|règle|programme|active)\w* (?:une |un |le |l')(?:alarme|réveil|minuteur|rappel)|\brappelle-moi (?:de|d'|à)\b|START(?:peux-tu |pouvez-vous )?(?:réserv|achèt|achet|command)\w*(?:-moi|-nous)? (?:une?|le|la|deux) (?:\w+ )?(?:vol|table|hôtel|chambre|taxi|billet|place|pizza)s?\b|START(?:enregistr|export|télécharg|convert)\w*(?:GAP){0,40}\b(?:en|au format|dans) (?:un |mon )?(?:PDF|fichier|dossier|bureau)\b",
        ),
    ),
    "de": Words(
        media=r"Bild(?:es|er)?|Fotos?|Fotografien?|Videos?|Audios?|Aufnahmen?|Tonaufnahmen?|Screenshots?|Clips?|Audiodateien?|Bildschirmfotos?",
        facts=r"Wetter|Temperatur|Vorhersage|Nachrichten|Schlagzeilen?|Preise?|Kurs|Aktien?|Wechselkurs|Verkehr|Uhrzeit|Bitcoin|Flüge?|Tickets?|Spielstand|Staus?",
        now=r"gerade|jetzt|im Moment|momentan|aktuell|heute|heute Abend|morgen|dieses Wochenende|diese Woche|derzeit",
        clauses=(
            r"\b(?:dieses?[mnrs]?|folgende[mnrs]?|angehängte[mnrs]?|beigefügte[mnrs]?|hochgeladene[mnrs]?) (?:\w+ )?(?:MEDIA|Melodie|PDF|Tabelle im Anhang)\b|\b(?:MEDIA) (?:\w+ )?(?:unten|oben|im Anhang|anbei|angehängt|das ich|die ich)\b|\b(?:MEDIA),? (?:die|das|den) ich\b",
            r"\b(?:was|wer|wo|wie viele|welche\w*|beschreib\w*|bestimm\w*|nenn\w*|zähl\w*|lies)\b(?:GAP){0,60}\b(?:auf|in) (?:dem|diesem) (?:Bild|Foto|Video|Screenshot)\b|\b(?:im|in der) (?:Bild|Video|Aufnahme)\b(?= (?:zu sehen|zu hören|gezeigt|unten))",
            r"START(?:bitte |kannst du |könntest du |können Sie )?(?:sieh|schau|sehen|schauen|betracht|hör|öffn|transkribier|untersuch|spiel|analysier)\w*(?: Sie)?(?: dir| sich| mir)? (?:das|die|den|dieses|diese|diesen|mein|meine) (?:\w+ )?(?:MEDIA|Datei|PDF|Link|Lied|Melodie|Podcast|Webseite|Website|Sprachnachricht|Tabelle im Anhang)\b",
            r"\b(?:PDF|Datei|Dokument|Bericht|MEDIA),? (?:das|die|den) ich (?:\w+ )?(?:hochgeladen|angehängt|geschickt|gesendet|geteilt|hochlade|anhänge)\w*",
            r"START(?:bitte |kannst du |könntest du |können Sie )?(?:erzeug|generier|erstell|zeichn|mal|entwirf|entwerf|gestalt|produzier|mach|bearbeit|illustrier|skizzier|rend)\w*(?: Sie)?(?: mir| uns)? (?:ein|eine|einen|das|die|mein|zwei|dieses) (?:[\w-]+,? ){0,3}?(?:Bild|Foto|Gemälde|Zeichnung|Illustration|Logo|Animation|GIF|Video|Infografik|Porträt|Skizze|Collage|Karikatur|Grafik|Poster|Plakat)\b(?! (?:in Worten|mit Worten|aus Worten))",
            r"START(?:bitte |kannst du |könntest du |können Sie )?(?:such|find|recherchier|schau|prüf|google|guck|ermittl|sieh)\w*(?: Sie)?(?: mal| bitte| mir| doch)* (?:\S+ ){0,8}?(?:online|im (?:Internet|Netz|Web)|(?:auf|bei|mit) (?:Google|YouTube|Wikipedia|Amazon))\b(?! (?:sicher|zu surfen))",
            r"START(?:bitte |kannst du |könntest du |können Sie )?(?:ruf|besuch|öffn|geh|lies|les|klick|schau|prüf)\w*(?: Sie)?(?: bitte)? (?:auf |die |den |das |diese |diesen |der |folgende )*(?:\w+ ){0,2}?(?:Website|Webseite|Internetseite|Startseite|Link|Homepage|Posteingang)\b",
            r"\b(?:gib|schick|sende|geben|schicken|teile)\w*(?: Sie)? mir (?:einen|den|die|ein paar|drei) (?:Links?|URLs?)\b",
            r"\b(?:wie|was|welche\w*|wie viel|nenn\w*|sag|zeig|finde|prüf\w*)\b(?:GAP){0,24}?\b(?:FACTS)\b(?:GAP){0,36}?\b(?:NOW)\b|\b(?:wie (?:warm|kalt|spät|heiß|teuer)|was kostet|wie viel kostet)\b(?:GAP){0,44}\b(?:gerade|jetzt|heute|im Moment|dieses Wochenende|aktuell|diese Woche)\b|\bwas (?:GAP){0,40}(?:dieses Wochenende|heute|gerade|im Moment) kostet|\b(?:regnet|schneit) es (?:\w+ ){0,3}?(?:heute|morgen|gerade)|\bdas aktuelle (?:FACTS)",
            r"START(?:bitte |kannst du |könntest du )?(?:stell|setz|programmier)\w*(?: Sie)?(?: mir)? (?:einen|den|eine) (?:\w+ )?(?:Wecker|Timer|Alarm|Erinnerung)|\berinner\w* (?:Sie )?mich (?:an|daran|um)\b|START(?:bitte |kannst du |könntest du )?(?:buch|reservier|bestell|kauf)\w*(?: Sie)?(?: mir| uns)? (?:einen|eine|ein|zwei|das) (?:\w+ )?(?:Flug|Tisch|Hotel|Zimmer|Taxi|Ticket|Pizza|Fahrkarte)\w*|START(?:speicher|exportier|lad|konvertier)\w*(?:GAP){0,40}\b(?:als|in) (?:eine |ein |meinem )?(?:PDF|\w*datei|Ordner)\b",
        ),
    ),
    "pt": Words(
        media=r"imagens|imagem|fotos?|fotografias?|vídeos?|áudios?|grava(?:ção|ções)|capturas? de tela|prints?",
        facts=r"tempo|clima|temperatura|previsão|notícias?|manchetes?|preços?|cotação|ações|taxa de câmbio|trânsito|horas?|bitcoin|voos?|passage(?:m|ns)|ingressos?|placar",
        now=r"agora(?: mesmo)?|neste momento|no momento|atualmente|hoje|esta (?:noite|tarde|manhã|semana)|amanhã|neste fim de semana|este fim de semana",
        clauses=(
            r"\b(?:est[ea]s?|ess[ea]s?|dest[ea]s?|dess[ea]s?|nest[ea]s?|ness[ea]s?|seguintes?) (?:\w+ )?(?:MEDIA|melodia)\b|\b(?:MEDIA) (?:\w+ )?(?:anex|abaixo|acima|seguinte|que (?:eu )?(?:te |lhe )?(?:anex|envi|mand|compartilh|carreg|post|tirei)|a seguir|mostrad|fornecid|aqui)\w*",
            r"\b(?:que|quem|onde|quant[oa]s|qual|descreva|identifique|conte|diga|leia|explique)\b(?:GAP){0,60}\b(?:na|da|desta) (?:imagem|foto|fotografia|gravação)\b(?! (?:de|que))",
            r"START(?:por favor,? |você pode |pode |poderia )?(?:olh|vej|assist|observ|escut|ouç|ouça|abr|transcrev|examin|analis|reproduz|toqu)\w* (?:bem )?(?:para |ao |à |a |o |esta |este |essa |esse |minha |meu |as |os )+(?:\w+ )?(?:MEDIA|arquivo|ficheiro|PDF|link|música|canção|melodia|podcast|página da web|mensagem de voz|planilha)\b",
            r"\b(?:PDF|arquivo|ficheiro|documento|relatório|planilha|MEDIA) (?:que )?(?:eu )?(?:te |lhe )?(?:acabei de )?(?:envi|anex|carreg|compartilh|mand|sub)\w+",
            r"START(?:por favor,? |você pode |pode |poderia |quero que você )?(?:ger|cri|desenh|pint|projet|elabor|produz|faç|edit|ilustr|recort)\w*(?:-me)? (?:um|uma|o|a|minha|esta|dois|duas) (?:[\w-]+ ){0,2}?(?:imagem|foto|fotografia|pintura|desenho|ilustração|logo|logotipo|animação|GIF|vídeo|infográfico|retrato|esboço|colagem|caricatura)s?\b(?! (?:mental|verbal|com palavras|poétic|de marca|positiv|corporativ))",
            r"START(?:por favor,? |você pode |pode |poderia )?(?:pesquis|busc|descub|procur|consult|verifi|ach|encontr|naveg|vej)\w* (?:\S+ ){0,8}?(?:na|pela|no|em) (?:internet|web|rede|google|youtube|wikipédia|amazon|linha)\b(?! com segurança)|START(?:pesquis|busc|descub|procur|verifi)\w*(?:GAP){0,40}\bon-?line\b(?! com segurança)",
            r"START(?:por favor,? |você pode |pode |poderia )?(?:consult|visit|entr|abr|acess|vá|lei|cliqu|vej|olh)\w* (?:n?[oa]s? |ao? |à |em |este |esta )*(?:\w+ ){0,2}?(?:site|página (?:da web|inicial)|portal|link|caixa de entrada)\b",
            r"\b(?:me (?:dê|envie|mande|passe)|dê-me|envie-me|compartilhe|forneça) (?:um|o|os|uns|alguns) (?:links?|URLs?)\b",
            r"\b(?:que|qual|quais|quant[oa]s?|como (?:está|vai)|diga|dê|me diga|procure|verifique|mostre)\b(?:GAP){0,24}?\b(?:FACTS)\b(?:GAP){0,36}?\b(?:NOW)\b|\bquanto (?:custa|está|vale)\w*(?:GAP){0,40}\b(?:agora|hoje|neste fim de semana|neste momento|esta semana)\b|\b(?:vai chover|choverá|está chovendo)\b",
            r"START(?:por favor,? |você pode |pode )?(?:program|defin|configur|ativ|coloqu)\w*(?:-me)? (?:um|uma|o) (?:alarme|despertador|temporizador|lembrete)|\b(?:me lembre|lembre-me) (?:de|às|amanhã)\b|START(?:por favor,? |você pode |pode )?(?:reserv|compr|peça|ped)\w*(?:-me)? (?:um|uma|o|a|dois) (?:\w+ )?(?:voo|mesa|hotel|quarto|táxi|passagem|ingresso|pizza)s?\b|START(?:salv|export|baix|convert)\w*(?:GAP){0,40}\b(?:em|como|para) (?:um |uma |meu |formato )?(?:PDF|arquivo|pasta|área de trabalho)\b",
        ),
    ),
    "id": Words(
        media=r"gambar|foto|video|audio|rekaman|tangkapan layar|cuplikan|klip",
        facts=r"cuaca|suhu|prakiraan|berita|harga|kurs|saham|nilai tukar|lalu lintas|jam|waktu|bitcoin|tiket|penerbangan|skor",
        now=r"sekarang|saat ini|hari ini|malam ini|besok|akhir pekan ini|minggu ini|detik ini|terkini",
        clauses=(
            r"\b(?:MEDIA|melodi|PDF) (?:\w+ )?(?:ini|itu|berikut|tersebut|terlampir|di (?:bawah|atas)|yang (?:saya|aku|di(?:lampirkan|unggah|berikan|kirim)))\b",
            r"\b(?:apa|siapa|di mana|berapa|sebutkan|jelaskan|kenali|hitung)\b(?:GAP){0,50}\b(?:pada|dalam|di|dari) (?:gambar|foto|video|rekaman)\b(?= (?:itu|ini|tersebut|di)|[?.]|$)",
            r"START(?:tolong |mohon |silakan |bisakah (?:kamu|anda) )?(?:lihat|tonton|perhatikan|dengarkan|buka|transkripsi|simak|putar|amati|baca|analisis)(?:lah|kan)* (?:MEDIA|berkas|file|PDF|tautan|link|lagu|melodi|podcast|pesan suara|lampiran)\b(?! (?:kehidupan|besar))",
            r"\b(?:PDF|berkas|file|dokumen|laporan|MEDIA) yang (?:baru saja |telah |sudah )?(?:saya|aku) (?:\w+ )?(?:unggah|lampirkan|kirim|bagikan)\w*",
            r"START(?:tolong |mohon |silakan |bisakah (?:kamu|anda) )?(?:buat|hasilkan|gambar|lukis|desain|rancang|ciptakan|sunting|edit|ilustrasi)(?:lah|kan)*(?: saya| aku)? (?:sebuah |seekor |suatu |dua )?(?:gambar|foto|lukisan|ilustrasi|logo|animasi|GIF|video|infografis|potret|sketsa|kolase|karikatur)\b(?! (?:kata|dengan kata|mental))",
            r"START(?:tolong |mohon |silakan |bisakah (?:kamu|anda) )?(?:cari|cek|telusuri|jelajahi|periksa|temukan|googling)(?:lah|kan)*(?: tahu)? (?:\S+ ){0,8}?(?:di|lewat|melalui|secara) (?:internet|web|google|daring|online|youtube|wikipedia|situs)\b(?! dengan aman)",
            r"START(?:tolong |mohon |silakan |bisakah (?:kamu|anda) )?(?:cek|kunjungi|buka|akses|lihat|baca|klik|periksa)(?:lah|kan)* (?:\w+ )?(?:situs|laman|halaman web|tautan|link|website|beranda|kotak masuk)\b",
            r"\b(?:berikan|kirimkan?|bagikan|beri)(?: saya| aku)? (?:tautan|link|URL)\b",
            r"\b(?:berapa|bagaimana|apa|sebutkan|cek|cari|beri tahu|tunjukkan)\b(?:GAP){0,24}?\b(?:FACTS)(?:nya)?\b(?:GAP){0,36}?\b(?:NOW)\b|\bberapa (?:biaya|ongkos)\b(?:GAP){0,30}\b(?:sekarang|hari ini|akhir pekan ini|saat ini|minggu ini)\b|\b(?:apakah (?:\w+ ){0,4}(?:akan|sedang) hujan)\b",
            r"START(?:tolong |mohon )?(?:pasang|setel|atur|nyalakan)(?:lah|kan)* (?:alarm|pengingat|timer|lampu)|\bingatkan (?:saya|aku)\b|START(?:tolong |mohon )?(?:pesan|beli|reservasi)(?:lah|kan)*(?: saya| aku)? (?:tiket|meja|hotel|kamar|taksi|penerbangan|pizza)\b|START(?:simpan|ekspor|unduh|konversi)(?:kan)?(?:GAP){0,40}\b(?:sebagai|ke|dalam) (?:format |berkas |file |folder )?(?:PDF|berkas|file|folder)\b",
        ),
    ),
    "vi": Words(
        media=r"hình ảnh|bức ảnh|tấm ảnh|ảnh|bức hình|tấm hình|hình|video|đoạn phim|clip|đoạn ghi âm|bản ghi âm|file ghi âm|âm thanh|ảnh chụp màn hình",
        facts=r"thời tiết|nhiệt độ|dự báo|tin tức|tin|giá|tỷ giá|tỉ giá|cổ phiếu|giao thông|bitcoin|vé|chuyến bay|tỷ số|tỉ số",
        now=r"bây giờ|hiện tại|hiện giờ|lúc này|hôm nay|tối nay|ngày mai|cuối tuần này|tuần này|ngay lúc này",
        clauses=(
            r"\b(?:MEDIA|giai điệu|tệp|file|PDF) (?:này|sau|dưới đây|bên dưới|ở (?:dưới|trên)|bên trên|đính kèm|kèm theo|(?:mà )?(?:tôi|mình) (?:đã |vừa )?(?:tải|gửi|đính kèm|chia sẻ|đăng|chụp))",
            r"(?:gì|ai|đâu|bao nhiêu|nào|mô tả|đếm|cho biết|thể hiện|biểu đồ)(?:GAP){0,50}\btrong (?:hình|ảnh|bức ảnh|tấm ảnh|bức hình|video|đoạn ghi âm)\b|\btrong (?:hình|ảnh|bức ảnh|tấm ảnh|bức hình|video|đoạn ghi âm)(?: \w+)? (?:có|là|thể hiện|cho thấy|đang)\b",
            r"START(?:hãy |vui lòng |bạn có thể |bạn hãy )?(?:nhìn(?: vào)?|xem|quan sát|nghe|mở|chép lại|gõ lại|đọc|phân tích)(?: nội dung)? (?:MEDIA|tệp|tập tin|file|liên kết|bài hát|giai điệu|podcast|trang web|tin nhắn thoại|tệp PDF|bảng tính)\b",
            r"\b(?:PDF|tệp|tập tin|file|tài liệu|báo cáo|MEDIA) (?:PDF )?(?:mà )?(?:tôi|mình) (?:đã |vừa |mới )?(?:tải|gửi|đính kèm|chia sẻ)",
            r"START(?:hãy |vui lòng |bạn có thể |giúp tôi |bạn hãy )?(?:tạo|vẽ|thiết kế|làm|dựng|chụp|chỉnh sửa|sáng tác)(?: cho tôi| giúp tôi| ra)? (?:một |hai )?(?:bức |tấm |đoạn )?(?:hình ảnh|ảnh|tranh|bức tranh|hình minh họa|logo|hoạt hình|GIF|video|infographic|chân dung|áp phích|hình)\b(?! (?:bằng lời|bằng từ|trong đầu|thức|ảnh ẩn dụ|tượng|học|dung))",
            r"START(?:hãy |vui lòng |bạn có thể |giúp tôi |bạn hãy )?(?:tìm|tra|tra cứu|tìm hiểu|tìm kiếm|kiểm tra|lướt|xem)(?: giúp tôi)? (?:\S+ ){0,8}?(?:trên|qua) (?:mạng|internet|web|google|youtube|wikipedia)\b(?! an toàn)",
            r"START(?:hãy |vui lòng |bạn có thể |bạn hãy )?(?:vào|truy cập|mở|ghé|xem|đọc|kiểm tra|nhấp vào) (?:trang|website|liên kết|đường dẫn|đường link|hộp thư) ?(?:chủ|web)?(?= (?:\w+ )?(?:và|rồi|này|để)|\s?[A-Z]|[.,])",
            r"(?:cho|gửi|đưa|chia sẻ)(?: cho)? (?:tôi|mình) (?:một |vài |các )?(?:đường link|liên kết|đường dẫn|link|URL)",
            r"\b(?:FACTS)\b(?:GAP){0,36}?\b(?:NOW)\b(?:GAP){0,12}(?:bao nhiêu|thế nào|ra sao|là gì|mấy)|\b(?:NOW),?(?: \S+){0,6}? (?:FACTS)\b(?:GAP){0,24}(?:bao nhiêu|thế nào|ra sao|mấy)|\b(?:FACTS)(?:GAP){0,40}(?:bao nhiêu|thế nào|ra sao)(?:GAP){0,12}\b(?:NOW)\b|giá bao nhiêu(?:GAP){0,20}(?:NOW)|(?:NOW)(?:GAP){0,8}giá bao nhiêu|(?:ngày mai|hôm nay|chiều nay)(?:GAP){0,16}có mưa không",
            r"START(?:hãy |vui lòng |giúp tôi )?(?:đặt|hẹn)(?: cho tôi)? (?:báo thức|hẹn giờ|lời nhắc|chuông)|\bnhắc (?:tôi|mình) (?:về|lúc|gọi|uống|đi|vào|mua)|START(?:hãy |vui lòng |giúp tôi )?(?:đặt|mua)(?: cho tôi| giúp tôi)? (?:một |hai )?(?:vé|bàn|phòng|khách sạn|taxi|chuyến bay|pizza)\b|START(?:hãy )?(?:lưu|xuất|tải|chuyển)(?:GAP){0,40}(?:thành|dưới dạng|vào) (?:tệp |file )?(?:PDF|tệp|file|thư mục)\b",
        ),
    ),
    "ru": Words(
        media=r"изображени\w+|фото|фотк\w+|фотографи\w+|картинк\w+|рисунк\w+|видео|видеоролик\w*|ролик\w*|аудио\w*|запис[ьи]|аудиозапис\w+|скриншот\w*|снимк\w+|снимок",
        facts=r"погод\w+|температур\w+|прогноз\w*|новост\w+|заголов\w+|цен[аыу]|стои\w+|курс\w*|акци\w+|пробк\w+|врем\w+|биткоин\w*|билет\w*|рейс\w*|сч[её]т",
        now=r"сейчас|сегодня|в данный момент|завтра|на выходных|на эти выходные|в эти выходные|прямо сейчас|на этой неделе|на данный момент",
        clauses=(
            r"\b(?:эт(?:о|от|у|а|и|ом|ой|их)|следующ\w+|прикрепл\w+|приложенн\w+|загруженн\w+) (?:\w+ )?(?:MEDIA|мелоди\w+)\b(?! (?:на века|жизни))|\b(?:MEDIA)\w*(?: \w+)? (?:ниже|выше|во вложении)\b|\b(?:MEDIA),? котор\w+ я\b",
            r"\b(?:что|кто|где|сколько|как\w+|опиши\w*|определи\w*|назови\w*|посчитай\w*|расскажи\w*)\b(?:GAP){0,60}\bна (?:картинке|фото|фотографии|изображении|рисунке|снимке|скриншоте|видео|записи)\b(?! (?:художника|мастера))",
            r"START(?:пожалуйста,? |можешь |не мог\w+ бы \w+ )?(?:посмотри|взгляни|рассмотри|послушай|прослушай|открой|расшифруй|включи|изучи|просмотри|проанализируй|прочти|прочитай)(?:те)?(?: на)? (?:эт\w+ |мо\w+ |загруженн\w+ |приложенн\w+ |прикрепл\w+ )?(?:мной )?(?:MEDIA|файл\w*|PDF|ссылк\w+|песн\w+|мелоди\w+|подкаст\w*|голосов\w+ сообщени\w+|веб-страниц\w+|таблиц\w+ во вложении)\b",
            r"\b(?:PDF|файл|документ|отч[её]т|MEDIA)\w*,? (?:который|которую|которое|что) я (?:\w+ )?(?:загрузил|приложил|прикрепил|отправил|прислал|скинул)\w*|\b(?:загруженн|приложенн|прикрепл[её]нн|присланн)\w+ (?:мной |мною )?(?:PDF|файл|документ|отч[её]т|MEDIA)",
            r"START(?:пожалуйста,? |можешь |не мог\w+ бы \w+ |я хочу, чтобы ты )?(?:сгенерируй|создай|нарисуй|изобрази|сделай|смонтируй|разработай|отредактируй|придумай и нарисуй|сними|сфотографируй)(?:те)?(?: мне| нам)? (?:[\w-]+ ){0,3}?(?:изображени\w+|картин(?:у|ку|ки)|рисун\w+|фото\w*|иллюстраци\w+|логотип\w*|анимаци\w+|гифк\w+|GIF|видео\w*|инфографик\w+|портрет|эскиз|коллаж|плакат|обложк\w+)\b(?! (?:словами|в воображении))",
            r"START(?:пожалуйста,? |можешь |не мог\w+ бы \w+ )?(?:найди|поищи|узнай|погугли|загугли|проверь|посмотри|поищи-ка)(?:те)?(?: мне)? (?:\S+ ){0,8}?(?:в (?:интернете|сети|гугле|google|яндексе|википедии|youtube)|онлайн)\b|START(?:погугли|загугли)(?:те)?\b",
            r"START(?:пожалуйста,? |можешь |не мог\w+ бы \w+ )?(?:зайди|открой|посети|перейди|посмотри|проверь|прочитай)(?:те)?(?: на| по| в)? (?:\w+ )?(?:сайт\w*|ссылк\w+|главн\w+ страниц\w+|портал\w*|веб-страниц\w+|почт\w+ ящик)\b",
            r"\b(?:дай|пришли|скинь|отправь|дайте|пришлите|поделись|поделитесь)(?: мне)? (?:ссылк\w+|URL)\b",
            r"\b(?:как\w+|сколько|что|назови|скажи|подскажи|узнай|проверь|покажи)(?:те)?\b(?:GAP){0,24}?\b(?:FACTS)\b(?:GAP){0,36}?\b(?:NOW)\b|\b(?:как\w+|сколько|что|назови|скажи|подскажи|узнай|проверь|покажи)(?:те)?\b(?:GAP){0,14}?\b(?:NOW)\b(?:GAP){0,24}?\b(?:FACTS)\b|\b(?:будет ли|ид[её]т ли|пойд[её]т ли)\b(?:GAP){0,16}\b(?:дождь|снег)\b",
            r"START(?:пожалуйста,? )?(?:поставь|установи|заведи|включи)(?:те)?(?: мне)? (?:будильник|таймер|напоминание|свет)|\bнапомни(?:те)? мне\b|START(?:пожалуйста,? )?(?:забронируй|закажи|купи)(?:те)?(?: мне| нам)? (?:\w+ )?(?:рейс|столик|отель|номер|такси|билет\w*|пиццу)\b|START(?:сохрани|экспортируй|скачай|конвертируй|преобразуй)(?:те)?(?:GAP){0,40}\b(?:в|как) (?:формат\w* |файл )?(?:PDF|файл|папк\w+)\b",
        ),
    ),
    "ar": Words(
        media=r"الصورة|الصور|صورة|الفيديو|فيديو|المقطع|التسجيل|تسجيل|الصوت|لقطة الشاشة|اللقطة|الملصق",
        facts=r"الطقس|طقس|درجة الحرارة|الحرارة|أخبار|الأخبار|خبر|سعر|أسعار|الأسهم|سهم|صرف|حركة المرور|الساعة|بيتكوين|تذكرة|تذاكر|رحلة|نتيجة",
        now=r"الآن|حاليًا|حاليا|اليوم|هذه الليلة|غدًا|غدا|هذا الأسبوع|عطلة (?:هذا الأسبوع|نهاية الأسبوع)|نهاية هذا الأسبوع|في هذه اللحظة",
        clauses=(
            r"(?:هذه|هذا) (?:MEDIA|اللحن|الملف)|(?:MEDIA|ملف PDF|الملف|اللحن)(?: \S+)? (?:أدناه|أعلاه|المرفق|المرفقة|التالي|التالية|التي (?:أرفقت|أرسلت|رفعت|التقطت)|الذي (?:أرفقت|أرسلت|رفعت))",
            r"(?:ماذا|ما|من|أين|كم|صف|حدد|اذكر|تعرّ?ف|عدد)(?:GAP){0,50} (?:في|من) (?:الصورة|هذه الصورة|الفيديو|التسجيل|اللقطة)(?![ء-ي])(?! (?:ال[ء-ي]+ية|التي (?:ترسم|يرسم)))",
            r"START(?:من فضلك،? |هل يمكنك |رجاءً،? )?(?:انظر|شاهد|استمع|افتح|فر[ّ]?غ|حلل|اقرأ|شغل|تفحص|راجع|ألق نظرة)(?:ي|وا)?(?: إلى| على)? (?:هذه |هذا )?(?:MEDIA|الملف|ملف (?:PDF|الصوت)|PDF|الرابط|الأغنية|اللحن|البودكاست|الرسالة الصوتية|المرفق)",
            r"(?:PDF|ملف|الملف|المستند|التقرير|MEDIA)(?: PDF)? (?:الذي|التي) (?:قمت ب)?(?:رفع|أرفق|أرسل|تحميل|رفعت|أرفقت|أرسلت|شارك)",
            r"START(?:من فضلك،? |هل يمكنك |رجاءً،? |أريدك أن )?(?:أنشئ|ارسم|صمم|صم[ّ]م|اصنع|ولّد|ولد|أنتج|التقط|عدّل|إنشاء|رسم|تصميم)(?:ي|وا)?(?: لي| لنا)? (?:صورة|لوحة|رسم(?:ًا|ا|ة)?|شعار(?:ًا|ا)?|فيديو|رسوم|انفوجرافيك|إنفوغرافيك|بورتريه|ملصق(?:ًا|ا)?|مقطع)(?![ء-ي])(?! (?:ذهنية|بالكلمات|شعرية|بياني|كتابي|واضحة عن))",
            r"START(?:من فضلك،? |هل يمكنك |رجاءً،? )?(?:ابحث|فتش|تصفح|تحقق|اعثر|اكتشف|جد)(?:ي|وا)?(?: لي)?(?: \S+){0,8}? (?:عبر|على|في) (?:الإنترنت|الانترنت|الويب|جوجل|غوغل|يوتيوب|الشبكة|ويكيبيديا)(?! بأمان)",
            r"START(?:من فضلك،? |هل يمكنك |رجاءً،? )?(?:ادخل|زر|افتح|تصفح|راجع|اقرأ|انقر|اذهب|تحقق)(?:ي|وا)?(?: إلى| على| من)? (?:موقع|الموقع|الرابط|صفحة الويب|الصفحة الرئيسية|بريدي)",
            r"(?:أعطني|أرسل لي|شارك|زودني ب|أرسل)(?: معي)?(?: ب)?(?: )?(?:رابط|الرابط|روابط)",
            r"(?:كم|ما|ماذا|كيف|أخبرني|اذكر|أعطني|تحقق)(?:GAP){0,24}?(?:FACTS)(?:GAP){0,36}?(?:NOW)|كم (?:يكلف|تكلف|يبلغ سعر|ثمن)(?:GAP){0,40}(?:NOW)|هل (?:ستمطر|تمطر|سيكون هناك مطر|سينزل المطر)",
            r"START(?:من فضلك،? |رجاءً،? )?(?:اضبط|شغل|فعّل)(?:ي)? (?:منبه|المنبه|مؤقت|تذكير)|ذك[ّ]?رني (?:ب|أن|غد)|START(?:من فضلك،? |رجاءً،? )?(?:احجز|اشتر|اطلب)(?:ي)?(?: لي)? (?:رحلة|طاولة|فندق|غرفة|سيارة أجرة|تذكرة|بيتزا)|START(?:احفظ|صد[ّ]?ر|حم[ّ]?ل|حو[ّ]?ل)(?:GAP){0,40}(?:بصيغة|كملف|إلى|في) (?:ملف |صيغة )?(?:PDF|ملف|مجلد)",
        ),
    ),
    "ja": Words(
        media=r"画像|写真|イラスト|動画|映像|ビデオ|音声|録音|スクリーンショット|スクショ|図|絵",
        facts=r"天気|気温|予報|ニュース|価格|値段|株価|為替|レート|時刻|何時|交通情報|渋滞|ビットコイン|航空券|チケット|スコア|料金|運行状況",
        now=r"今日|今|現在|ただいま|いま|明日|今夜|今週末|今週|本日|たった今",
        clauses=(
            r"(?:この|次の|以下の|下の|上の|添付(?:した|された|の)|アップロード(?:した|された)|送った|貼り付けた|左の|右の)(?:画像|写真|動画|映像|ビデオ|音声|録音|スクリーンショット|スクショ|イラスト|メロディー?|PDF|ファイル|スプレッドシート)(?!集|編集)",
            r"(?:画像|写真|動画|映像|録音|音声|絵)(?:の|に|で|から)(?:GAP){0,14}(?:グラフ|写って|映って|描かれ|何(?:を|が|で)|見え|聞こえ|示して|人物は|鳥|花|文字)",
            r"(?:画像|写真|動画|映像|ビデオ|音声|録音|曲|メロディー?|歌|音楽|PDF|ファイル|リンク|スクリーンショット|ポッドキャスト|ボイスメッセージ)を(?:よく)?(?:見て|観て|視聴して|聴いて|聞いて|開いて|再生して|文字起こし|書き起こ|確認して|読み込|読んで|分析して|解析して)",
            r"(?:画像|写真|イラスト|動画|映像|ロゴ|アニメーション|ポスター|似顔絵|肖像画|インフォグラフィック|GIF|コラージュ|絵|図)(?:を|の)(?:\S{0,6})?(?:生成|作成|作って|作り|描いて|描き|デザイン|撮影|撮って|編集|加工|制作|合成)(?:し(?:て|なさい|ろ)|て|って|なさい|してください)?(?!るこつ|る方法|する方法|のコツ|のこつ|で大切|るとき|する際|に必要|について|の手順)(?:[。\n]|$|くだ|下さ|ほしい|欲しい|もらえ|くれ|なさい|いただけ|いて|てくだ|して)",
            r"(?:インターネット|ネット|ウェブ|オンライン|Google|グーグル|YouTube|ウィキペディア)(?:で|上で|を使って)(?:GAP){0,30}?(?:検索|調べ|探し|見つけ|確認し|ググ)(?:し?て|して)|(?:検索|ググ)(?:し?って|して)(?:ください|教え|くれ)",
            r"(?:サイト|ホームページ|ウェブページ|リンク|URL|リンク先|トップページ|受信箱|受信トレイ)(?:を|に|へ|で)(?:\S{0,4})?(?:見て|開いて|アクセスして|訪れて|確認して|読んで|クリックして|調べて|移動して)",
            r"(?:リンク|URL)を(?:\S{0,4})?(?:教えて|送って|貼って|共有して|ください|示して)",
            r"(?:NOW)(?:の|、|は)?(?:GAP){0,16}?(?:FACTS)(?:GAP){0,8}(?:は[、。？?\n]|は(?:何|どう|いくら|いくつ)|は$|を(?:教|調|知)|いくら|何度|どう|[？?])|(?:FACTS)(?:GAP){0,10}(?:NOW)(?:GAP){0,6}(?:いくら|どう|何度|何)|(?:NOW)(?:GAP){0,24}いくら|(?:明日|今日)は(?:雨|雪)が?(?:降り|降る|ですか)",
            r"(?:アラーム|タイマー|目覚まし|リマインダー)を(?:\S{0,6})?(?:セット|設定|かけ)|(?:思い出させて|リマインドして)|(?:航空券|ホテル|席|タクシー|チケット|部屋|ピザ|レストラン)を(?:\S{0,4})?(?:予約して|注文して|手配して|買って|取って)(?:くだ|くれ|ほしい|$|。)|(?:PDF|ファイル|フォルダ)(?:に|として|へ)(?:保存|変換|出力|書き出)して",
        ),
    ),
    "ko": Words(
        media=r"이미지|사진|그림|동영상|영상|비디오|오디오|녹음|음성|스크린샷|캡처",
        facts=r"날씨|기온|온도|예보|뉴스|가격|값|주가|환율|시각|몇 시|교통|비트코인|항공권|표|티켓|점수|스코어|요금",
        now=r"지금|현재|오늘|오늘 밤|내일|이번 주말|이번 주|방금|실시간",
        clauses=(
            r"(?:이|아래|위|다음|첨부(?:한|된|하신)?|업로드(?:한|된)|올린|보낸|왼쪽|오른쪽) ?(?:의 )?(?:이미지|사진|동영상|영상|비디오|오디오|녹음(?: 파일)?|음성|스크린샷|캡처|멜로디|PDF|파일|엑셀)(?! ?편집)",
            r"(?:이미지|사진|그림|영상|동영상|녹음)(?:에|에서|의|속|속의| 속| 속의| 안| 안의)(?:GAP){0,16}(?:그래프|나온|보이는|찍힌|들리는|무엇|누구|몇|사람|글자|나타|새의|꽃의)",
            r"(?:이미지|사진|동영상|영상|비디오|오디오|녹음(?: 파일)?|음악|노래|멜로디|PDF|파일|링크|스크린샷|팟캐스트|음성 메시지)(?:을|를) ?(?:잘 )?(?:보고|보신|시청하|듣고|들어|열어|열고|재생하|받아 ?적|글로 옮|텍스트로|확인하|읽고|읽어|분석해|옮겨)",
            r"(?:이미지|사진|그림|동영상|영상|로고|일러스트|애니메이션|포스터|초상화|인포그래픽|움짤|콜라주|캐리커처)(?:을|를|로|으로) ?(?:하나 |한 장 |한 편 )?(?:생성|만들어|그려|제작|디자인|찍어|편집|합성|만드)(?:해|하)? ?(?:주|줘|세요|십시오|봐|보세요|라)",
            r"(?:인터넷|온라인|웹|구글|네이버|유튜브|위키백과)(?:에서|으로|로) ?(?:GAP){0,20}?(?:검색|찾아|알아봐|알아 ?보|조사해|조회)|검색해 ?(?:줘|주|서 알려)",
            r"(?:홈페이지|사이트|웹 ?페이지|링크|받은 편지함)(?:에|을|를|로) ?(?:들어가|접속|방문|열어|열고|클릭|확인해|읽고|보고)",
            r"(?:링크|URL)(?:을|를) ?(?:\S{0,4} )?(?:보내|알려|공유|달|주세요|줘)",
            r"(?:NOW)(?:GAP){0,20}?(?:FACTS)(?:GAP){0,10}(?:얼마|몇|어때|어떤가|어떻|알려|무엇|인가요|뭐|\?)|(?:FACTS)(?:GAP){0,14}(?:NOW)(?:GAP){0,8}(?:얼마|몇|어때|어떻)|(?:NOW)(?:GAP){0,30}얼마|(?:내일|오늘)(?:GAP){0,10}비가? (?:오|올)",
            r"(?:알람|타이머|리마인더)(?:을|를) ?(?:\S{0,8} )?(?:맞춰|설정|켜)|(?:상기시켜|리마인드해) ?(?:줘|주)|(?:항공권|비행기|호텔|식당|자리|택시|표|티켓|방|피자)(?:을|를)? ?(?:\S{0,4} )?(?:예약해|주문해|사 ?줘|끊어|예매해) ?(?:줘|주)?|(?:PDF|파일|폴더)(?:로|에|으로) ?(?:저장|변환|내보내)해? ?(?:줘|주|라|세요)",
        ),
    ),
    "th": Words(
        media=r"รูปภาพ|ภาพถ่าย|รูปถ่าย|ภาพ|รูป|วิดีโอ|คลิป|เสียง|ไฟล์เสียง|ภาพหน้าจอ",
        facts=r"อากาศ|อุณหภูมิ|พยากรณ์|ข่าว|ราคา|หุ้น|อัตราแลกเปลี่ยน|ค่าเงิน|จราจร|กี่โมง|บิตคอยน์|ตั๋ว|เที่ยวบิน|ผลบอล|องศา",
        now=r"ตอนนี้|ขณะนี้|วันนี้|คืนนี้|พรุ่งนี้|สุดสัปดาห์นี้|สัปดาห์นี้|ปัจจุบันนี้|เดี๋ยวนี้",
        clauses=(
            r"(?:รูปภาพ|ภาพถ่าย|รูปถ่าย|ภาพ|รูป|วิดีโอ|คลิป|ไฟล์(?:เสียง|บันทึก)?|ทำนอง|PDF|เพลง|เสียงบันทึก)\s?(?:ต่อไปนี้|นี้|ด้านล่าง|ด้านบน|ข้างล่าง|ข้างบน|ที่แนบ|แนบ|ที่(?:ฉัน|ผม|ดิฉัน)?(?:อัปโหลด|ส่ง|แนบ|ถ่าย|ให้มา))",
            r"(?:อะไร|ใคร|ที่ไหน|กี่|บรรยาย|ระบุ|นับ|กราฟ|คน|นก|ดอกไม้)[^\n]{0,24}ใน(?:ภาพ|รูป|รูปภาพ|ภาพถ่าย|วิดีโอ|คลิป)(?:แสดง|นี้|มี|คือ|เป็น|$|\s)",
            r"(?:ดู|ฟัง|เปิด|ถอดเสียง|ถอดความ|อ่าน|รับชม|สังเกต|วิเคราะห์)(?:รูปภาพ|ภาพถ่าย|ภาพ|รูป|วิดีโอ|คลิป|ไฟล์|เสียง|เพลง|ทำนอง|\s?PDF|ลิงก์|พอดแคสต์|ข้อความเสียง)(?:\s|นี้|ด้าน|แล้ว|ที่|และ|บันทึก|แนบ|เสียง)",
            r"\s?PDF\s?ที่(?:ฉัน|ผม|ดิฉัน)?(?:อัปโหลด|ส่ง|แนบ)",
            r"(?:^|[\s.])(?:ช่วย|กรุณา|โปรด|จง|ให้)?(?:สร้าง|วาด|ออกแบบ|ทำ|ถ่าย|ตัดต่อ|ผลิต|แต่ง)(?:รูปภาพ|ภาพวาด|ภาพเหมือน|ภาพเสมือน|ภาพประกอบ|ภาพเคลื่อนไหว|รูปวาด|รูป|ภาพ|วิดีโอ|โลโก้|คลิป|แอนิเมชัน|อินโฟกราฟิก|โปสเตอร์)(?!รวม|ลักษณ์|แบบ|พจน์)",
            r"(?:ค้น|หา|ค้นหา|สืบค้น|เช็ก|เช็ค|ค้นดู|หาข้อมูล)[^\n]{0,30}?(?:ใน|บน|ทาง|จาก)(?:อินเทอร์เน็ต|เน็ต|เว็บ|กูเกิล|\s?Google|ออนไลน์|ยูทูบ|\s?YouTube|วิกิพีเดีย)(?!อย่างปลอดภัย)",
            r"(?:เข้า|เปิด|เยี่ยมชม|คลิก|ดู|อ่าน|ไปที่)(?:เว็บไซต์|เว็บ|หน้าเว็บ|ลิงก์|ลิงค์|หน้าแรก|โฮมเพจ|กล่องจดหมาย)",
            r"(?:ขอ|ส่ง|ให้|แชร์)(?:ลิงก์|ลิงค์|URL)",
            r"(?:NOW)[^\n]{0,24}?(?:FACTS)[^\n]{0,24}?(?:เท่าไร|เท่าไหร่|กี่|อย่างไร|ยังไง|อะไร|เป็นไง|บ้าง)|(?:FACTS)[^\n]{0,30}?(?:NOW)[^\n]{0,10}(?:เท่าไร|เท่าไหร่|กี่|อย่างไร|ยังไง|อะไร|เป็นไง|บ้าง)|(?:NOW)[^\n]{0,20}ราคาเท่า|(?:วันนี้|พรุ่งนี้)[^\n]{0,10}ฝนจะตก|ฝนจะตก[^\n]{0,10}ไหม",
            r"(?:ตั้ง|ปรับ)(?:นาฬิกาปลุก|ปลุก|เวลาเตือน|การเตือน|เตือนความจำ|ตัวจับเวลา)|เตือน(?:ฉัน|ผม|ดิฉัน)(?:ให้|ตอน|ว่า|เวลา|พรุ่งนี้)|(?:จอง|สั่ง|ซื้อ)(?:ตั๋ว|โรงแรม|โต๊ะ|แท็กซี่|เที่ยวบิน|พิซซ่า|ห้อง)[^\n]{0,10}ให้(?:ฉัน|ผม|ดิฉัน|หน่อย|ที)|(?:บันทึก|ส่งออก|แปลง|ดาวน์โหลด)[^\n]{0,30}(?:เป็น|ลงใน)(?:ไฟล์|\s?PDF|โฟลเดอร์)",
        ),
    ),
}
