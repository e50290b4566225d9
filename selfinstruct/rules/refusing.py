"""Patterns of refusals, built from each language's words: what one says one cannot do, lacks, declines or was not given.

A letter that declines an invitation, a tale in the first person and a hotel that has no room lack these words: they deny
other acts, or have no means that only a model of text would miss. English holds in every language, as models fall
back on it; the patterns are applied elsewhere.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache


@dataclass(frozen=True, kw_only=True)
class Words:
    """The words of one language, each a pattern of alternatives. `serve`, `handle` and `things` are tried in one clause."""

    named: str
    """A model that names itself, no person whose profession is artificial intelligence."""

    unable: str
    """Inability of the one who speaks."""

    serve: str
    """Acts that hardly anyone but an assistant denies: to assist, to generate, to browse."""

    handle: str
    """Acts that anyone may deny: to see, to open, to tell ..."""

    things: str
    """... of things that only a model cannot see, open or tell."""

    lack: str
    """Not having, of the one who speaks."""

    lacked: str
    """What only a model has not."""

    whole: str
    """Whole phrases: to decline a request, one's guidelines, a text or an image that was not sent along."""

    verb_last: bool = False
    """Whether what is denied stands before the denial, as in Japanese and Korean."""


_GAP = r"[^.!?。！？؟\n]"


@cache
def refusing(language: str) -> str:
    """The pattern of a language's refusals; empty for a language without words here."""
    words = _WORDS.get(language)
    if words is None:
        return ""
    things, handle = f"(?:{words.things})", f"(?:{words.handle})"
    serve, unable = f"(?:{words.serve})", f"(?:{words.unable})"
    lack, lacked = f"(?:{words.lack})", f"(?:{words.lacked})"
    if words.verb_last:
        clauses = (
            f"{serve}{_GAP}{{0,8}}{unable}",
            f"{things}{_GAP}{{0,14}}{handle}{_GAP}{{0,6}}{unable}",
            f"{lacked}{_GAP}{{0,8}}{lack}",
        )
    else:
        clauses = (
            f"{unable}{_GAP}{{0,24}}?{serve}",
            f"{unable}{_GAP}{{0,24}}?{handle}{_GAP}{{0,48}}?{things}",
            f"{lack}{_GAP}{{0,24}}?{lacked}",
        )
    return "|".join((words.named, *clauses, words.whole))


_WORDS: Mapping[str, Words] = {
    "en": Words(
        named=r"\bas an? (?:[\w-]+,? ){0,3}?(?:AI|artificial intelligence|language model|LLM|chatbot|(?:virtual|digital|AI|text) assistant)(?=[^\w\s-]|$|-(?:based|powered)| (?:language|text|chat|assistant|system|model|program|tool|I|that|without|trained|developed|created|designed|and|with|who)\b)"
        r"|\bI(?:'m| am) (?:just |only |merely )?an? (?:[\w-]+ ){0,3}?(?:AI|artificial intelligence|language model|LLM|chatbot)(?=[^\w\s-]|$|-(?:based|powered)| (?:language|assistant|system|model|program|that|without|trained|developed|created|designed|and|so|with)\b)",
        unable=r"\bI (?:cannot|can't|can not|won't|will not|won't be able to|will not be able to|am (?:currently |sorry, but I am )?(?:unable to|not able to|not capable of|not in a position to)|have no (?:way|means) (?:to|of)|(?:do not|don't) have (?:a|any) (?:way|means) (?:to|of)|(?:do not|don't) know how to|could not|couldn't)\b|\bI'm (?:currently |simply |sorry, but I'm )?(?:unable to|not able to|not capable of|not in a position to)\b|\b(?:afraid|sorry|unfortunately)\b[^.!?\n]{0,20}\b(?:(?:cannot|can't|unable to|not able to)|(?:is|it's) not possible(?: for me)? to)\b",
        serve=r"\b(?:assist(?:ing)?|help(?:ing)?(?! (?:but|\w+ing|myself|him|her|them|it)\b)|provid(?:e|ing)(?! for)|fulfil\w*|comply|generat(?:e|ing)|brows(?:e|ing)|access(?:ing)?|translate|summari[sz]e|answer (?:that|this|the|your|any|such)|respond to (?:that|this|your|such)|(?:complete|process|perform|execute|do) (?:that|this|the|your|such) ?(?:request|task|action|question|instruction|query|$|[.,])|accommodate|participate in creating|support (?:this|that) request)",
        handle=r"\b(?:see|view|view(?:ing)|watch|open|read|hear|listen|play|look|check|visit|follow|give|giving|offer|mak(?:e|ing)|creat(?:e|ing)|produce|draw|writ(?:e|ing)|tell|say|predict|recommend|share|verify|confirm|analy[sz]e|identify|describe|know|display|show|send|search|retrieve|form|express|determine|interpret|download|discuss|engage|do|fetch|find|have)\b",
        things=r"\b(?:images?|(?:pictures?|photos?|photographs?)(?! of (?:my|his|her|our)\b)|videos?|audio|recordings?|attachments?|attached|files?|PDFs?|links?|URLs?|web ?(?:sites?|pages?)|the internet|online|real[- ]time|live (?:data|news|scores?)|current (?:prices?|weather|time|date|events?|news|data|temperature)|up-to-date|external (?:sites?|sources?|content)|(?:medical|legal|financial|professional|tax) advice|diagnos\w+|personal (?:opinions?|experiences?|views?|feelings|preferences?)|harmful|hateful|illegal|explicit|copyrighted|content that|(?:this|that|your|such an?) (?:request|question|task|prompt|query)|without (?:more|further|additional|knowing|seeing|having) )",
        lack=r"\bI (?:(?:do not|don't) (?:currently |actually |yet |really )?(?:have|possess|see|hold|retain|experience)|have no|lack)\b|\bI've no\b",
        lacked=r"\b(?:access to|the (?:ability|capability|capacity|means) to|(?:ability|capability) to|real[- ]time|personal (?:experience|opinion|feeling|belief|preference|view|memor|emotion|life|stor)\w*|feelings(?! for)|emotions|consciousness|a physical|physical (?:body|form)|(?:enough|sufficient|specific|any|the|up-to-date|current) (?:information|context|details|data)|information (?:about|on|regarding|after)|(?:internet|web|browsing) |an? (?:body|attachment|image)|(?:any|an|the|a|your) (?:\w+ )?(?:attach\w+|image|file|text|article|passage|document|photo|picture|audio|link)s?\b(?: (?:attached|included|here|in your|in the|that you|you|to \w+|provided)|[.,])|memories|opinions|preferences)",
        whole=r"\bI (?:must|have to|need to|will have to|'ll have to|am going to)?(?: respectfully| politely)? ?(?:decline|refuse)\b[^.!?\n]{0,24}\b(?:request|task|question|prompt|instruction|answer|provid|assist|help|writ|creat|generat|engag|content|fulfil)|\bI(?:'m| am) not (?:programmed|designed|trained|allowed|permitted|equipped|comfortable) (?:to|with)\b|\bI(?:'d| would) (?:rather|prefer) not (?:to )?(?:answer|discuss|write|provide|create|engage|help|share|generate)"
        r"|\b(?:against|violat\w+|contrary to|conflicts? with|outside|beyond|align\w* with|in line with|limits of) (?:the scope of )?my (?:\w+ ){0,2}?(?:guidelines?|polic(?:y|ies)|principles|programming|rules|capabilit(?:y|ies)|training)|\bmy (?:knowledge|training)(?: data)? (?:cut-?off|ends|only|is limited|stops|was last)"
        r"|\bno (?:[\w-]+ ){0,2}?(?:text|image|article|passage|file|attachment|document|input|audio|paragraph|sentence|picture|photo|list|content)s? (?:was|were|has been|have been|is|are|seems? to|appears? to)\b[^.!?\n]{0,14}\b(?:attached|included|provided|given|supplied|uploaded|shared)|\b(?:the|your|an?) (?:[\w-]+ ){0,2}?(?:text|image|article|passage|file|attachment|document|audio|picture|photo)s?(?: you\w* \w+)? (?:wasn't|was not|weren't|isn't|is not|hasn't been|has not been|did not|didn't|(?:seems?|appears?) to be missing)\b[^.!?\n]{0,10}\b(?:attached|included|provided|uploaded|shared|come through|missing|load)|\byou (?:haven't|have not|didn't|did not|forgot to|may have forgotten to)(?: yet| actually)? (?:provided?|included?|attach\w*|shared?|uploaded?|pasted?|specif\w+)|\b(?:please|could you|can you|kindly|would you) (?:please |kindly )?(?:provide|share|paste|upload|send|supply|attach|include)(?: me)?(?: with)? (?:the|your|an?|more|some|additional|further|it)\b[^.!?\n]{0,60}\b(?:you(?:'d| would)? (?:like|want|need|wish)(?: me)?\b|so (?:that )?I can|and I(?:'ll| will| can)|for me to)",
    ),
    "es": Words(
        named=r"\b(?:como|al ser|siendo|dado que soy|ya que soy|puesto que soy|soy|por ser|solo soy)(?: (?:solo|sólo|simplemente|únicamente))?(?: (?:un|una))? (?:(?:modelo|asistente|sistema|programa|chatbot)\b(?: (?:de|virtual|basad[oa]|en|por|con|extenso|grande|textual|entrenado)){0,4}? ?(?:lenguaje|idioma|IA|inteligencia artificial|texto|virtual|digital|textual)\b|IA\b|AI\b|inteligencia artificial\b)",
        unable=r"\bno (?:me )?(?:puedo|podré|podría|soy capaz de|estoy en condiciones de|estoy capacitad[oa] para|tengo forma de|tengo manera de|tengo modo de|es posible|sé cómo|me es posible|está en mi mano)\b|\bme (?:es|resulta) imposible\b|\bincapaz de\b",
        serve=r"\b(?:ayudar(?:te|le|les|os|lo|la)?|asistir(?:te|le)|proporcionar\w*|cumplir con|atender\w*|responder (?:a )?(?:es[aeo]|est[aeo]|tu|su|preguntas)|gener\w+|brindar\w*|acceder|traducir(?:lo|la)?\b|resumir(?:lo|la)?\b|procesar|naveg\w+|complac\w+|facilitar\w*|realizar es[at])",
        handle=r"\b(?:ver\b|visualizar|mirar|abrir|leer|oír|escuchar|reproducir|consultar|buscar|comprobar|dar|ofrecer|hacer|crear|produc\w+|dibujar|escribir|decir\w*|predecir|recomendar|compartir|verificar|analizar|identificar|describir|saber|mostrar|enviar|opinar|expresar|descargar|indicar\w*|informar\w*|completar|satisfacer|diagnosticar|visitar|tener|interpretar|tratar)",
        things=r"\b(?:im[aá]gen(?:es)?|fotos?|fotografías?|v[ií]deos?|audios?|grabaci\w+|archivos?|adjunt\w+|enlaces?|p[aá]ginas? web|sitios? web|internet|en línea|tiempo real|precio actual|actualizad\w+|consejos? (?:m[ée]dicos?|legal\w*|jur[ií]dic\w+|financier\w+)|asesoramiento|diagn[oó]stic\w+|opiniones|opinión personal|experiencias? personal\w+|dañin\w+|ilegal\w*|explícit\w+|ofensiv\w+|(?:es[aeo]|est[aeo]|tu|su) (?:solicitud|petición|pregunta|tarea|consulta)|contenido que|visualizaci\w+|gráficos?|dibujos?|sin (?:más|conocer|ver|tener))",
        lack=r"\b(?:no (?:tengo|dispongo de|cuento con|poseo|veo|percibo|recuerdo|guardo)|carezco de)\b",
        lacked=r"\b(?:acceso|(?:la |una )?(?:capacidad|posibilidad) de|datos (?:en|actual)|información (?:actual|suficiente|sobre|en tiempo|más)|(?:suficiente|bastante|más) (?:información|contexto)|opiniones|(?:opini\w+|experiencias?|recuerdos|sentimientos|emociones|preferencias|creencias|vivencias|memorias?)(?: (?:personal\w*|propi\w+)|[.,]|$| ni | o | y )|cuerpo físico|conciencia|ning(?:ún|una) (?:imagen|archivo|texto|foto|audio|adjunto|documento|artículo)|(?:el|la) (?:imagen|archivo|texto|foto|audio) (?:adjunt|que))",
        whole=r"\b(?:debo|tengo que|he de|me veo obligad[oa] a|prefiero) (?:rechazar|rehusar|declinar|negarme a|no (?:responder|opinar|escribir))\b[^.!?\n]{0,20}(?:solicitud|petición|pregunta|responder|escribir|ayudar|tarea|consulta|opinar|contenido)|\b(?:contra|contrari[ao] a|infringe|incumple|viola|fuera de|más allá de) (?:de )?(?:mis|las) (?:\w+ )?(?:normas|directrices|políticas|principios|pautas|reglas|capacidades|programación)|\bno (?:estoy|he sido|fui) (?:programad|diseñad|entrenad|autorizad|capacitad)[oa] para"
        r"|\bno (?:has|ha|han|hab[ée]is|se (?:ha|han)|me (?:has|ha)) (?:incluid|adjuntad|proporcionad|enviad|compartid|facilitad|indicad|especificad|recibid|subid)o\b|\bno (?:se incluy\w+|se adjunt\w+|se proporcion\w+|aparece) (?:ning|el texto|la imagen|el archivo|el artículo)|\bpor favor,? (?:proporci[oó]n\w*|comp[aá]rt\w+|p[eé]g\w+|s[uú]b\w+|env[ií]\w+|adj[uú]nt\w+|incluye|incluya|facil[ií]t\w+|indica\w*)[^.!?\n]{0,70}\b(?:quieres|quiere|desea|deseas|necesitas|para (?:que )?(?:poder|pueda|que yo)|y (?:te|le|con gusto|lo|la))",
    ),
    "fr": Words(
        named=r"\b(?:en tant qu['e] ?|comme je suis |étant(?: donné que je suis)? |puisque je suis |je (?:ne )?suis (?:qu')?|n'étant qu')(?:juste |seulement |simplement )?(?:une? )?(?:(?:modèle|assistante?|système|programme|chatbot|agent)\b(?: (?:de|d'|linguistique|virtuel|conversationnel|textuel|basé|sur|par|grand)){0,4}? ?(?:langage|IA|intelligence artificielle|texte|linguistique|virtuel(?:le)?|textuel(?:le)?|conversationnel(?:le)?)\b|IA\b|AI\b|intelligence artificielle\b)",
        unable=r"\bje (?:ne |n')(?:peux|puis|pourrai|pourrais|suis|saurais|sais|parviens|dispose|ai)[^.!?\n]{0,14}?\b(?:pas|capable|mesure|moyen|aucun moyen|à)\b|\bde ne (?:pas )?(?:pouvoir|être en mesure)\b|\bil m'est impossible\b|\bje ne (?:peux|puis)\b|\bincapable de\b|\bmalheureusement,? (?:il n'est pas possible|impossible)\b",
        serve=r"\b(?:(?:vous |t'|t’|y )?aider|assister|fournir|répondre à (?:cette|ce|votre|ta|vos)|donner suite|accéder|génér\w+|satisfaire|traduire (?:ce|cette|le)|résumer (?:ce|le)|traiter (?:cette|votre)|navigu\w+|accomplir|exécuter|répondre favorablement)",
        handle=r"\b(?:voir|visualiser|regarder|ouvrir|lire|entendre|écouter|consulter|chercher|rechercher|vérifier|donner|offrir|proposer|faire|créer|produire|dessiner|écrire|rédiger|dire|prédire|recommander|partager|analyser|identifier|décrire|savoir|afficher|montrer|envoyer|exprimer|télécharger|indiquer|visiter|interpréter|diagnostiquer|avoir|connaître|informer|communiquer|effectuer|réaliser|discuter)\b",
        things=r"\b(?:images?|photos?|photographies?|vidéos?|audio|enregistrements?|fichiers?|pièces? jointes?|liens?|pages? web|sites?|internet|en ligne|temps réel|prix actuels?|(?:conseils?|avis) (?:médica\w+|juridiques?|financiers?|d'ordre)|diagnostic|opinions?|avis personnel|expériences? personnelles?|nuisible|illégal\w*|explicite|offensant|(?:cette|votre|ta|ce genre de) (?:demande|question|requête|tâche)|contenu (?:qui|à)|sans (?:plus|davantage|connaître|voir))",
        lack=r"\bje (?:n'ai|ne dispose|ne possède|ne vois|ne perçois|ne conserve|n'éprouve|ne ressens)\b",
        lacked=r"\b(?:accès|(?:la |de )?(?:capacité|possibilité|faculté) d|(?:assez|suffisamment) d['e] ?(?:informations?|contexte|éléments)|informations? (?:sur|à jour|actuelle|en temps|concernant)|(?:d'|de |pas d'|pas de |ni d'|aucune? )(?:opinions?|sentiments?|émotions?|souvenirs?|préférences?|croyances?|expériences?|corps|conscience|mémoire|image|fichier|texte|pièce jointe|photo|enregistrement|document|article|avis)(?: (?:personnel|propre|physique|joint|dans|à|en)\w*|[.,]|$| ni ))",
        whole=r"\bje (?:dois|me dois de|suis (?:obligée?|contrainte?) de|préfère)[^.!?\n]{0,8}\b(?:refuser|décliner|ne pas (?:répondre|me prononcer|écrire))\b[^.!?\n]{0,20}(?:demande|requête|question|répondre|écrire|aider|tâche|contenu)|\b(?:contraire à|contre|enfreint|viole|en dehors de|dépasse|au-delà de) mes (?:\w+ )?(?:règles|directives|politiques|principes|consignes|capacités|limites|programmation)|\bje (?:n'ai pas été|ne suis pas) (?:programmée?|conçue?|entraînée?|autorisée?|habilitée?|formée?) (?:pour|à)"
        r"|\bvous (?:n'avez|n'ayez|ne m'avez) (?:pas|rien)[^.!?\n]{0,8}\b(?:joint|inclus|fourni|envoyé|partagé|précisé|indiqué|transmis|collé)|\b(?:aucune?|le|la|l') ?(?:texte|image|fichier|article|document|pièce jointe|photo|passage|audio) n'(?:a été|est|apparaît)[^.!?\n]{0,12}\b(?:jointe?|fournie?|incluse?|partagée?|présente?|visible|transmise?)|\b(?:veuillez|merci de|pourriez-vous|pouvez-vous|peux-tu|s'il vous plaît,?)(?: bien)? (?:me |le |la |l'|les )?(?:fournir|partager|coller|téléverser|envoyer|joindre|inclure|transmettre|copier|renvoyer|communiquer)[^.!?\n]{0,70}\b(?:souhaite\w*|voulez|veux|afin que|pour que je|que je (?:dois|puisse)|et je)",
    ),
    "de": Words(
        named=r"\b(?:als|da ich|weil ich|ich bin|bin ich)(?: (?:nur|lediglich|bloß|ja))?(?: eine?)?(?: \w+e[rs]?){0,2}? (?:KI(?![-\w])|künstliche Intelligenz\b|(?:KI-|Text-)?Sprachmodell|Chatbot|KI-(?:Modell|Assistent\w*|System|Chatbot|Programm|Modul)\b|(?:text\w+|virtuelle[rn]?|digitale[rn]?) Assistent\w*|Sprachassistent\w*)",
        unable=r"\b(?:ich (?:kann|könnte|darf|bin|vermag)|(?:kann|darf|bin) ich)\b[^.!?\n]{0,60}?\b(?:nicht|keine?[nrs]?|außerstande|leider nicht|unmöglich)\b|\bist es mir[^.!?\n]{0,20}\b(?:nicht möglich|unmöglich|verwehrt)\b|\bes ist mir[^.!?\n]{0,20}\b(?:nicht möglich|unmöglich)\b|\bich (?:bin nicht in der Lage|habe keine Möglichkeit)\b|\bnicht in der Lage\b",
        serve=r"\b(?:(?:weiter)?helfen\b|unterstützen|beantworten|bereitstellen|erfüllen|zugreifen|Auskunft|nachkommen|generier\w+|behilflich|zur Verfügung stellen|bearbeiten|durchsuchen|entsprechen|dienen)",
        handle=r"\b(?:sehen|ansehen|anschauen|anzeigen|öffnen|lesen|hören|anhören|abspielen|suchen|prüfen|überprüfen|geben|anbieten|machen|erstellen|zeichnen|schreiben|sagen|nennen|mitteilen|vorhersagen|empfehlen|teilen|analysieren|erkennen|beschreiben|wissen|zeigen|senden|äußern|herunterladen|abrufen|aufrufen|besuchen|haben|stellen|verfassen|ausführen|übersetzen|nachsehen|möglich|verwehrt|nicht|keine?[nrs]?)\b",
        things=r"(?!)",
        lack=r"\b(?:ich habe|habe ich|ich besitze|besitze ich|ich verfüge|verfüge ich|ich sehe|sehe ich|mir fehl(?:t|en)|ich empfinde)\b",
        lacked=r"\b(?:(?:keine?n?|nicht|über kein\w*)\b[^.!?\n]{0,24}\b(?:Zugriff|Zugang|Möglichkeit|Fähigkeit|Echtzeit\w*|aktuelle[nr]? (?:Daten|Informationen)|(?:persönliche|eigene)[nrs]? \w+|Gefühle\b(?! für)|Emotionen|Meinung|Bewusstsein|Körper\b|Informationen|Angaben|(?:Bild|Foto|Anhang|Datei|Text|Artikel|Audio|Aufnahme|Dokument)\w*(?= (?:im|in|angehängt|beigefügt|zu|von|vor)|[.,]))|(?:der|die|das) (?:Zugriff|Zugang|Fähigkeit|Möglichkeit))",
        whole=r"\b(?:muss ich|ich muss|möchte ich|ich möchte)\b[^.!?\n]{0,30}\b(?:ablehnen|verweigern|absehen)\b|\b(?:Anfrage|Bitte|Aufgabe|Frage)\b[^.!?\n]{0,14}\b(?:muss|möchte|werde) ich\b[^.!?\n]{0,20}\b(?:ablehnen|nicht)|\b(?:gegen|außerhalb|widerspricht|verletzt|übersteigt|verstößt gegen) (?:meine[rn]?) (?:\w+ )?(?:Richtlinien|Regeln|Grundsätze|Prinzipien|Vorgaben|Fähigkeiten|Möglichkeiten|Programmierung)|\bich (?:bin|wurde) nicht (?:dafür |dazu |darauf )?(?:programmiert|entwickelt|trainiert|ausgelegt|befugt|berechtigt)"
        r"|\bich kann\b[^.!?\n]{0,30}\b(?:keine?[nrs]?|nicht)\b[^.!?\n]{0,30}\b(?:Bild\w*|Fotos?|Video\w*|Audio\w*|Datei\w*|Links?|Webseiten?|Websites?|Internet|Echtzeit\w*|Ratschläge|Rat\b|Beratung|Diagnos\w+|Meinung\w*|Inhalte|Anfrage|Frage|Aufgabe|Anhang|Anhänge|Vorhersagen)\b|\bich kann\b[^.!?\n]{0,24}\b(?:Bild\w*|Fotos?|Video\w*|Audio\w*|Datei\w*|Links?|Webseiten?|Websites?|Anhang|Anhänge|PDF\w*|Preis\w*|Frage|Anfrage|Anliegen)\b[^.!?\n]{0,24}\bnicht\b|\b(?:kann ich|ist es mir)\b[^.!?\n]{0,50}\b(?:nicht|keine?[nrs]?|unmöglich)\b[^.!?\n]{0,40}\b(?:Bild\w*|Foto\w*|Video\w*|Audio\w*|Datei\w*|Link\w*|Webseite\w*|Anhang|Anfrage|Frage|nennen|öffnen|beantworten)\b"
        r"|\b(?:kein\w*|der|die|das|Ihr|dein) (?:\w+ ){0,1}?(?:Text|Bild|Artikel|Anhang|Datei|Dokument|Foto|Audio|Abschnitt)\w*(?: \w+){0,2}? (?:beigefügt|angehängt|mitgeschickt|angegeben|bereitgestellt|vorhanden|hochgeladen|enthalten|übermittelt|nicht (?:beigefügt|angehängt|angekommen|übermittelt))\b|\b(?:Sie|du) (?:haben|hast)[^.!?\n]{0,10}\b(?:kein\w*|nicht|vergessen)\b[^.!?\n]{0,24}\b(?:beigefügt|angehängt|mitgeschickt|angegeben|bereitgestellt|hochgeladen|anzuhängen|eingefügt|genannt)|\bbitte (?:füge?n?|stelle?n?|teile?n?|lade?n?|sende?n?|schicke?n?|gib|geben|kopiere?n?) (?:Sie )?(?:mir )?(?:den|das|die|Ihren|deinen)\b[^.!?\n]{0,50}\b(?:ich|damit)\b",
    ),
    "pt": Words(
        named=r"\b(?:como(?: sou)?|por ser|sendo|já que sou|visto que sou|sou)(?: (?:apenas|só|somente))?(?: (?:um|uma))? (?:(?:modelo|assistente|sistema|programa|chatbot)\b(?: (?:de|virtual|basead[oa]|em|por|grande|treinado)){0,4}? ?(?:linguagem|língua|idioma|IA|inteligência artificial|texto|virtual|digital|textual)\b|IA\b|AI\b|inteligência artificial\b)",
        unable=r"\bnão (?:posso|consigo|poderei|conseguirei|poderia|sou capaz de|estou apt[oa] a|tenho como|tenho condições de|é possível|me é possível|sei como)\b|\b(?:receio|temo|lamento) (?:que )?não (?:conseguir|poder|consiga|possa)\b|\b(?:é|me é) impossível\b|\bincapaz de\b",
        serve=r"\b(?:ajud(?:ar|á)[\w-]*|auxili\w+|fornecer\w*|cumprir|atend(?:er|ê)[\w-]*|responder (?:a )?(?:ess|est|sua|à sua|perguntas)|ger(?:ar|á)[\w-]*|prestar|acess\w+|traduzi(?:r|-)\w*|resumi(?:r|-)\w*|processar|naveg\w+|realizar ess)",
        handle=r"\b(?:ver\b|visualizar|olhar|abrir|ler\b|ouvir|escutar|reproduzir|consultar|buscar|pesquisar|verificar|dar\b|oferecer|fazer|criar|produzir|desenhar|escrever|dizer|prever|recomendar|compartilhar|partilhar|analisar|identificar|descrever|saber|mostrar|enviar|opinar|expressar|baixar|informar|indicar|completar|diagnosticar|visitar|ter\b|interpretar)",
        things=r"\b(?:imagens?|imagem|fotos?|fotografias?|vídeos?|áudios?|grava\w+|arquivos?|ficheiros?|anex\w+|links?|páginas? (?:da )?web|sites?|internet|on-?line|tempo real|preços? atua\w+|atualizad\w+|conselhos? (?:médic\w+|jurídic\w+|financeir\w+|legais)|aconselhamento|diagnóstic\w+|opini\w+|experiências? pessoa\w+|prejudicia\w+|ilega\w+|explícit\w+|ofensiv\w+|(?:ess[ea]|est[ea]|seu|sua) (?:solicitação|pedido|pergunta|tarefa|consulta)|conteúdo que|sem (?:mais|conhecer|ver|ter))",
        lack=r"\b(?:não (?:tenho|disponho de|possuo|conto com|vejo|encontro|encontrei|guardo|recebi)|careço de)\b",
        lacked=r"\b(?:acesso|(?:a |uma )?(?:capacidade|possibilidade|habilidade) de|dados (?:em|atua)|informações? (?:atua|suficiente|sobre|em tempo)|(?:informações|contexto) suficiente\w*|(?:opini\w+|experiências?|lembranças|memórias?|sentimentos|emoções|preferências|crenças|vivências)(?: (?:pessoa\w*|própri\w+)|[.,]|$| nem | ou | e )|corpo físico|consciência|nenhum[a]? (?:imagem|arquivo|texto|foto|áudio|anexo|documento|artigo)|(?:o|a) (?:imagem|arquivo|texto|foto|áudio) (?:anex|que))",
        whole=r"\b(?:devo|preciso|tenho (?:que|de)|sou obrigad[oa] a|prefiro) (?:recusar|declinar|negar|não (?:responder|opinar|escrever))\b[^.!?\n]{0,20}(?:solicitação|pedido|pergunta|responder|escrever|ajudar|tarefa|opinar|conteúdo)|\b(?:contra|contrári[ao] a?|viola|infringe|fora d|além d)\w* ?(?:as |os |às |aos )?(?:minhas|meus) (?:\w+ )?(?:diretrizes|políticas|princípios|regras|normas|capacidades|limites|programação)|\bnão (?:fui|estou|sou) (?:programad|projetad|treinad|autorizad|capacitad)[oa] para"
        r"|\bnão (?:foi|foram|está|estava)[^.!?\n]{0,12}(?:incluíd|anexad|fornecid|enviad|compartilhad|carregad)[oa]s?\b|\bvocê (?:não|esqueceu de) (?:\w+ )?(?:inclui|anex|fornec|envi|compartilh|col)\w+|\b(?:por favor,?|poderia|pode|você poderia) (?:me )?(?:forne[cç]\w+|compartilh\w+|col(?:e|ar)\b[\w-]*|envi\w+|anex\w+|inclu\w+|carregu?\w+|inform\w+)[^.!?\n]{0,70}\b(?:que você|deseja|quer|gostaria|para que eu|para eu|e eu|e terei|novamente)",
    ),
    "id": Words(
        named=r"\b(?:sebagai|karena saya(?: adalah| hanya(?:lah)?)?|saya (?:adalah|hanya(?:lah)?)|saya ini)(?: (?:hanya|sekadar))?(?: (?:sebuah|seorang))? (?:model bahasa|AI\b|kecerdasan buatan\b|(?:asisten|chatbot|program|sistem)(?: (?:virtual|digital|AI|berbasis (?:teks|AI)|teks|kecerdasan buatan|bahasa))+)",
        unable=r"\b(?:saya|aku|kami) (?:(?:masih|juga|sama sekali) )?(?:tidak|belum|tak|nggak|enggak) (?:dapat|bisa|mampu|mungkin|sanggup|diizinkan|diperbolehkan|dirancang untuk|diprogram untuk|berwenang)\b|\b(?:maaf|sayangnya)\b[^.!?\n]{0,40}\btidak (?:dapat|bisa) saya\b",
        serve=r"\b(?:membantu|bantu\b|memberikan (?!hadiah)|memberi (?:saran|nasihat|pendapat|informasi)|menyediakan|memenuhi|penuhi|menjawab (?:pertanyaan|itu)|jawab\b|menghasilkan|mengakses|menerjemahkan|meringkas|memproses|proses\b|menjelajah\w*|menyelesaikan (?:tugas|permintaan)|mengerjakan permintaan|kerjakan|melayani|menuruti|mengabulkan|menyarankan)",
        handle=r"\b(?:melihat|menonton|membuka|membaca|mendengar(?:kan)?|memutar|mencari|mengecek|memeriksa|memberi|membuat|menggambar|menulis|mengatakan|memberitahu\w*|menyebutkan|memprediksi|meramal\w*|membagikan|memverifikasi|menganalisis|mengidentifikasi|mengetahui|menampilkan|menunjukkan|mengirim\w*|mengunduh|mengunjungi|memiliki|menafsirkan|mendiagnosis|melakukan)\b",
        things=r"\b(?:gambar|foto|video|audio|rekaman|berkas|file|lampiran|tautan|link|situs|internet|daring|online|real-?time|waktu nyata|harga (?:saat ini|terkini)|terkini|terbaru|saran medis|nasihat (?:medis|hukum|keuangan)|diagnosis|pendapat pribadi|pengalaman pribadi|berbahaya|ilegal|eksplisit|permintaan (?:ini|itu|tersebut|anda)|pertanyaan (?:ini|itu|tersebut|anda)|konten yang|tanpa (?:mengetahui|melihat|informasi))",
        lack=r"\b(?:saya|aku|kami) (?:tidak|belum|tak) (?:memiliki|punya|mempunyai|melihat|menemukan|menerima|mendapat\w*|menyimpan)\b|\b(?:maaf|sayangnya)\b[^.!?\n]{0,20}\btidak (?:memiliki|ada)\b",
        lacked=r"\b(?:akses|kemampuan|data (?:waktu|real|terkini)|informasi (?:terkini|yang cukup|tentang|mengenai|real|lebih)|(?:cukup|informasi) (?:informasi|cukup)|(?:pendapat|pengalaman|kenangan|perasaan|emosi|preferensi|keyakinan|ingatan|opini)(?: (?:pribadi|sendiri)|[.,]|$| atau | dan | maupun )|tubuh fisik|kesadaran|(?:gambar|berkas|file|teks|artikel|lampiran|foto|dokumen|audio)\b(?: (?:yang|apa|apapun|terlampir|dilampirkan)|[.,]))",
        whole=r"\bsaya (?:harus|terpaksa|perlu|lebih memilih)\b[^.!?\n]{0,12}\b(?:menolak|tidak menjawab)\b[^.!?\n]{0,24}(?:permintaan|pertanyaan|tugas|menjawab|membantu|konten|ini)|\b(?:melanggar|bertentangan dengan|di luar|menyalahi|tidak sesuai dengan) (?:\w+ )?(?:pedoman|kebijakan|aturan|prinsip|kemampuan|batasan|pemrograman) (?:saya|kami|yang saya)|\bsaya tidak (?:dirancang|diprogram|dilatih|diizinkan|diperbolehkan) untuk"
        r"|\b(?:teks|artikel|gambar|berkas|file|lampiran|dokumen|foto|audio|paragraf|kalimat)(?:nya)?\b[^.!?\n]{0,14}\b(?:belum|tidak) (?:disertakan|dilampirkan|diberikan|terlampir|ada|terkirim|diunggah|tersedia)|\banda (?:belum|tidak|lupa) (?:menyertakan|melampirkan|memberikan|mengirim\w*|mengunggah|membagikan)|\b(?:silakan|mohon|harap|tolong|bisakah anda|dapatkah anda) (?:berikan|kirim\w*|tempel\w*|unggah|bagikan|lampirkan|sertakan|memberikan|mengirim\w*|menempelkan|mengunggah\w*|membagikan)[^.!?\n]{0,60}\b(?:yang ingin|yang anda|agar saya|supaya saya|sehingga saya|dan saya akan|lagi)\b",
    ),
    "vi": Words(
        named=r"\b(?:là|với tư cách(?: là)?|với vai trò(?: là)?|vì (?:tôi|mình) (?:chỉ )?là|do (?:tôi|mình) (?:chỉ )?là|tôi (?:chỉ )?là|mình (?:chỉ )?là)(?: một)? (?:mô hình ngôn ngữ|AI\b|trí tuệ nhân tạo\b|(?:trợ lý|chatbot|hệ thống|chương trình)(?: (?:ảo|AI|văn bản|ngôn ngữ|trí tuệ nhân tạo|kỹ thuật số|số))+)",
        unable=r"\b(?:tôi|mình|em|chúng tôi) (?:(?:cũng|hiện|rất tiếc|xin lỗi) )?(?:không thể|chưa thể|không có cách nào|không được phép|không biết cách)\b|\b(?:tôi|mình)\b[^.!?\n]{0,6}\bkhông\b(?=[^.!?\n]{0,14}\bđược\b)|\bnên (?:tôi )?không thể\b|\b(?:xin lỗi|rất tiếc)\b[^.!?\n]{0,30}\bkhông thể\b",
        serve=r"\b(?:giúp(?! tôi)|hỗ trợ|cung cấp|đáp ứng|trả lời (?:câu|yêu cầu|điều)|tạo ra|truy cập|dịch (?:văn|đoạn|câu)|tóm tắt|xử lý|thực hiện (?:yêu cầu|điều|việc|nhiệm vụ)|hoàn thành (?:yêu cầu|nhiệm vụ)|duyệt (?:web|internet)|tuân theo)",
        handle=r"\b(?:xem|mở|đọc|nghe|phát|tìm|tra|kiểm tra|đưa ra|cho (?:bạn )?(?:biết|lời khuyên|xem)|tạo|vẽ|viết|nói|dự đoán|chia sẻ|xác minh|phân tích|nhận diện|mô tả|biết|hiển thị|gửi|tải|khuyên|bày tỏ|nhìn thấy|thấy|chẩn đoán|có)\b",
        things=r"\b(?:hình ảnh|bức ảnh|ảnh|video|âm thanh|bản ghi|tệp|tập tin|liên kết|đường dẫn|trang web|internet|trực tuyến|thời gian thực|giá hiện tại|hiện tại|mới nhất|lời khuyên (?:y tế|pháp lý|tài chính|về)|chẩn đoán|ý kiến cá nhân|quan điểm|trải nghiệm cá nhân|gây hại|bất hợp pháp|yêu cầu (?:này|đó|của bạn)|câu hỏi (?:này|đó|của bạn)|nội dung (?:có|mang|này)|nếu không (?:có|biết))",
        lack=r"\b(?:tôi|mình|em) (?:(?:cũng|hiện) )?(?:không có|chưa có|không sở hữu|không thấy|không nhìn thấy|chưa nhận được|không nhận được|không tìm thấy)\b|\bnên (?:tôi )?không có\b|\b(?:rất tiếc|xin lỗi)\b[^.!?\n]{0,16}\bkhông có\b",
        lacked=r"\b(?:quyền truy cập|khả năng|dữ liệu (?:thời gian|mới)|(?:đủ )?thông tin|(?:ý kiến|trải nghiệm|kỷ niệm|ký ức|cảm xúc|cảm giác|sở thích|niềm tin|quan điểm)(?: (?:cá nhân|riêng)|[.,]|$| hay | hoặc | và )|cơ thể|ý thức|(?:hình ảnh|ảnh|tệp|văn bản|bài viết|tài liệu|tệp đính kèm|âm thanh)(?: nào| được| đính kèm))",
        whole=r"\btôi (?:phải|buộc phải|xin|xin phép|đành|cần)\b[^.!?\n]{0,6}\btừ chối\b[^.!?\n]{0,24}(?:yêu cầu|câu hỏi|trả lời|nhiệm vụ|nội dung|giúp)|\b(?:trái với|vi phạm|đi ngược lại|vượt quá|nằm ngoài|ngoài) (?:các |những )?(?:nguyên tắc|chính sách|quy định|hướng dẫn|khả năng|phạm vi|giới hạn)[^.!?\n]{0,12} của tôi|\btôi không được (?:lập trình|thiết kế|huấn luyện|đào tạo|phép)"
        r"|\bbạn (?:chưa|không|quên)\b[^.!?\n]{0,10}\b(?:gửi|cung cấp|đính kèm|đưa|tải|dán|chia sẻ|nêu)\b|\b(?:văn bản|bài viết|hình ảnh|tệp|đoạn văn|tài liệu) (?:\w+ ){0,2}?(?:chưa|không) (?:được )?(?:đính kèm|cung cấp|gửi|tải)|\b(?:vui lòng|xin|hãy|bạn có thể|bạn hãy)(?: vui lòng)? (?:cung cấp|gửi|dán|tải|chia sẻ|đính kèm)[^.!?\n]{0,60}\b(?:bạn muốn|mà bạn|để tôi|để mình|tôi sẽ|cần (?:dịch|tóm tắt)|lại)\b",
    ),
    "ru": Words(
        named=r"\b(?:как|будучи|поскольку я|так как я|потому что я|ведь я|я)(?: (?:всего лишь|просто|только|лишь))? ?(?:[-—] ?)?(?:\w+(?:ый|ая|ой|ым) ){0,2}?(?:языков\w+ модел\w+|ИИ\b(?:-(?:ассистент|модел|помощник)\w*)?|искусственн\w+ интеллект\w*|(?:виртуальн|цифров|текстов)\w+ (?:ассистент|помощник)\w*|чат-?бот\w*|нейросет\w+|AI\b)",
        unable=r"\bя (?:\w+ )?не (?:могу|смогу|в состоянии|способ(?:ен|на|но)|умею|имею (?:возможности|права)|вправе)\b|\b(?:не могу|не смогу|не сумею|не получится|не в состоянии|не умею)\b|\bу меня (?:не получится|нет возможности)\b|\b(?:извин\w+|сожале\w+)\b[^.!?\n]{0,40}\b(?:невозможно|не можем)\b",
        serve=r"\b(?:помочь|помогать|предостав\w+|ответить на (?:этот|ваш|данн|так|вопрос)|отвечать на (?:так|этот)|выполнить (?!работ)|сгенерир\w+|генерир\w+|просматривать (?:веб|интернет|сайт)|перевести (?:это|этот|текст|данн)|обработать|оказать|удовлетворить|содействовать)|\b(?:доступ(?:а)? к)",
        handle=r"\b(?:видеть|увидеть|просматривать|просмотреть|смотреть|открыть|открывать|прочитать|прочесть|слушать|прослушать|воспроизв\w+|искать|найти|проверить|дать|давать|предложить|сделать|создать|создавать|рисовать|нарисовать|написать|сказать|назвать|сообщить|предсказ\w+|рекомендовать|поделиться|анализировать|проанализировать|определить|описать|знать|показать|отправить|выразить|скачать|посетить|иметь|указать|распознать|высказ\w+|обсуждать|ставить)\b",
        things=r"\b(?:изображени\w+|фото\w*|картинк\w+|видео\w*|аудио\w*|запис[ьи]\w*|файл\w*|вложени\w+|ссылк\w+|сайт\w*|веб-\w+|интернет\w*|онлайн|реальн\w+ времени|текущ\w+ (?:цен|курс|погод|врем|дат)\w*|актуальн\w+|(?:медицинск|юридическ|финансов)\w+ (?:совет|консультац|рекомендац)\w*|диагноз\w*|личн\w+ (?:мнени|опыт)\w*|вредн\w+|незаконн\w+|(?:эт\w+|ваш\w*|данн\w+|так\w+) (?:запрос|просьб|вопрос|задани)\w*|контент\w*|без (?:дополнительн|дальнейш|самого))",
        lack=r"\bу меня (?:\w+ )?(?:нет|отсутству\w+|не хватает)\b|\bя (?:\w+ )?не (?:имею|располагаю|обладаю|вижу|получил|испытываю|храню|нахожу)\b|\bмне не хватает\b|\bне имею\b",
        lacked=r"\b(?:доступ\w*|возможност\w+ (?:видеть|просм|откры|слуш|получ|выход|провер|искать|использов)|способност\w+|(?:достаточн\w+ )?(?:информации|данных|сведений|контекста)|(?:личн\w+|собственн\w+) \w+|чувств\w*(?: (?:и|или)|[.,]|$)|эмоци\w+|мнени\w+|сознани\w+|физическ\w+ тел\w+|предпочтени\w+|(?:прикрепл|прилож|вложен|загружен)\w+|(?:изображени|вложени|файл)\w*(?: в|[.,])|текста(?: в| для|[.,]))",
        whole=r"\bя (?:вынужден\w*|долж(?:ен|на|но)|предпочту|обязан\w*)\b[^.!?\n]{0,12}\b(?:отказ\w+|отклонить|не (?:отвечать|обсуждать))\b[^.!?\n]{0,26}(?:запрос|просьб|вопрос|выполн|ответ|задани|контент|помо)|\b(?:противоречит|нарушает|выходит за (?:рамки|пределы)|не соответствует|идёт вразрез с) (?:\w+ )?(?:мои\w*) (?:\w+ )?(?:правил|принцип|политик|возможност|инструкц|руководств|установк|ограничени|программ)\w*|\bя не (?:запрограммирован|предназначен|обучен|уполномочен|рассчитан)\w*"
        r"|\b(?:открыть|посмотреть|просмотреть|прочитать|прослушать|увидеть|помочь|ответить|выполнить)\b[^.!?\n]{0,36}\b(?:не получится|не могу|не смогу|не сумею|невозможно)\b"
        r"|\b(?:текст|изображение|файл|статья|документ|фото|вложение|отрывок|аудио)\w*[^.!?\n]{0,14}\bне (?:был[аио]? )?(?:прикрепл|прилож|предостав|указан|загруж|добавл|отправл|приш)\w+|\bвы (?:не|забыли) (?:\w+ )?(?:прилож|прикреп|предостав|указ|загруз|добав|отправ|встав)\w+|\b(?:пожалуйста,?|не могли бы вы|можете) ?(?:предостав|отправ|встав|загруз|прилож|прикреп|пришл|укаж|поделит)\w+[^.!?\n]{0,60}\b(?:который|которую|котор\w+|чтобы я|и я|ещё раз|нужно)\b",
    ),
    "ar": Words(
        named=r"(?:بصفتي|باعتباري|كوني|لكوني|لأنني|لأني|بما أنني|أنا)(?: مجرد)? (?:نموذج(?:ا|ًا)? (?:لغ|ذكاء|للغة)|ذكاء(?:ً|ا|ًا)? (?:ا)?صطناعي|مساعد(?:ا|ًا)? (?:ذك|افتراض|نص|رقم|لغو|آل)|برنامج(?:ا|ًا)? (?:ذكاء|حاسوب|دردشة)|روبوت دردشة)|كنموذج (?:لغ|ذكاء)|كذكاء اصطناعي|كمساعد (?:ذك|افتراض|نص|رقم|آل)",
        unable=r"(?:لا|لن|لم) (?:أستطيع|استطيع|يمكنني|أتمكن|أقدر|بوسعي|بإمكاني|أملك القدرة على|يسعني)|لست (?:قادر|مخول|مبرمج|في وضع)|غير قادر|ليس (?:بإمكاني|بوسعي|في وسعي|بمقدوري)|يتعذر علي|تعذر علي|يؤسفني أنني لا",
        serve=r"(?:(?:مساعدتك(?: في| ب| ع|\.|$)|المساعدة|تلبي|تلبية|تنفيذ|الإجابة (?:على|عن)|إنشاء محتوى|توليد|الوصول|تصفح|توفير|ترجمة هذا|ترجمة النص|تلخيص|معالجة|الاستجابة|تزويدك|إكمال (?:هذ|طلب)|الرد على (?:هذ|سؤال|طلب)))",
        handle=r"(?:رؤية|مشاهدة|عرض|فتح|قراءة|سماع|الاستماع|تشغيل|البحث|التحقق|تقديم|إعطاء|إنشاء|رسم|كتابة|ذكر|قول|إخبار|التنبؤ|مشاركة|تحليل|التعرف|تحديد|وصف|معرفة|إظهار|إرسال|تنزيل|زيارة|تشخيص|إبداء|التعبير|صنع|أن)",
        things=r"(?:الصور|صور|الصورة|الفيديو|مقاطع|الملف|ملف|المرفق|التسجيل|الصوت|الرابط|الروابط|المواقع|الموقع|الإنترنت|الوقت الفعلي|الآنية|السعر الحالي|الأسعار الحالية|الحالي|نصائح (?:طبية|قانونية|مالية)|نصيحة (?:طبية|قانونية|مالية)|استشارات|تشخيص|آراء شخصية|رأي شخصي|تجارب شخصية|ضار|غير قانوني|هذا الطلب|هذه المهمة|هذا السؤال|طلبك|طلبكم|محتوى)",
        lack=r"(?:ليس(?:ت)? (?:لدي|لديّ|عندي|بحوزتي)|لا (?:أملك|أمتلك|تتوفر لدي|يتوفر لدي|توجد لدي|يوجد لدي|أرى|أجد|أتذكر)|تنقصني|أفتقر إلى|لم أتلق|لم أجد)",
        lacked=r"(?:وصول|الوصول|صلاحية|إمكانية|القدرة على|قدرة على|بيانات|معلومات|(?:مشاعر|آراء|رأي|ذكريات|تجارب|تفضيلات|معتقدات|خبرات)(?: شخصي| خاص|[.،,]|$| أو | ولا )|جسد|وعي|(?:أي )?(?:صورة|ملف|نص|مرفق|مقال|تسجيل)(?:ات)?(?: مرفق| هنا| في|[.،]))",
        whole=r"(?:لا|لن) (?:نستطيع|يمكننا) (?:تلبية|تنفيذ|الإجابة)|(?:علي|عليّ|يجب|يجب علي|أعتذر|مضطر|مضطرة|أود)[^.!?؟\n]{0,14}(?:أن أرفض|إلى رفض|رفض|عن (?:عدم )?(?:تنفيذ|تلبية|الإجابة))[^.!?؟\n]{0,14}(?:الطلب|السؤال|المهمة|طلب|الإجابة|تنفيذ)|(?:يخالف|تخالف|يتعارض مع|تتعارض مع|ينتهك|خارج|يتجاوز) (?:نطاق )?(?:إرشاداتي|سياساتي|مبادئي|قواعدي|قدراتي|برمجتي|المبادئ التوجيهية)|لم (?:أ|يتم )(?:ُ)?(?:برمج|صمم|برمجتي|تدريبي|تصميمي)"
        r"|(?:النص|المقال|الصورة|الملف|المرفق|الفقرة|المستند)[^.!?؟\n]{0,10}(?:لم (?:يُ|ي|تُ|ت)?(?:رفق|درج|قدم|رسل)|غير مرفق|غير موجود|مفقود)|لم (?:تقم ب|ترفق|تُرفق|تقدم|تزود|تدرج|ترسل|تذكر|يتم (?:إرفاق|تقديم|تزويد))|(?:يرجى|الرجاء|من فضلك|هل يمكنك|أرجو)[^.!?؟\n]{0,6}(?:تقديم|لصق|إرسال|مشاركة|رفع|تحميل|إرفاق|تزويدي|رفعها|إرساله|إرفاقها|تزويدنا)[^.!?؟\n]{0,50}(?:الذي تريد|التي تريد|تريد|ترغب|حتى أتمكن|كي أتمكن|لأتمكن|مرة أخرى|وسأ)",
    ),
    "ja": Words(
        named=r"(?:AI|ＡＩ|人工知能|言語モデル|チャットボット|テキスト(?:ベース|専用)の?(?:AI|アシスタント|モデル))(?:言語モデル|アシスタント|モデル|チャットボット)?(?:として(?!の|は.{0,10}研究)|ですので|なので|であるため|ですから|である私|のため|であり、?|に過ぎ|にすぎ)",
        unable=r"(?:でき(?:ません|かね|ない|ず)|出来(?:ません|かね)|いたしかね|致しかね|しかね|ことができ|ことはでき|ことが出来|られません|れません|えません|けません|めません|かりません|ません|不可能)",
        serve=r"(?:お答え(?:する|は|が)?|ご?回答(?:する|は|を)?|ご?対応(?:する|は)?|ご?提供(?:する|は)?|生成(?:する|は|を)?|お手伝い(?:する|は|が)?|お役に立|アクセス(?:する|は)?|ご?要望に(?:お応え|応え|沿)|ご?依頼(?:に(?:お応え|応じ|沿う)|は(?:お受け|承))|お受け(?:する|は)?|お応え(?:する|は)?|翻訳(?:する|は|を)?|ご案内(?:する|は)?|お伝え(?:する|は)?|閲覧(?:する|は)?|ご紹介(?:する|は)|お力に)",
        handle=r"(?:見る|見|見ら|視聴|確認|開く|開|読む|読|読み込|聴く|聞く|聴|聞|再生|検索|調べる|調べ|お?伝え|教え|作成|作る|描く|描|書く|書|予測|共有|分析|特定|判断|識別|説明|知る|わ|分|表示|送信|送|表明|する|はする|助言|認識|取得|述べ|お示し|言え)",
        things=r"(?:画像|写真|動画|映像|音声|録音|ファイル|リンク|URL|ウェブサイト|サイト|ウェブ|インターネット|リアルタイム|最新の?(?:情報|データ|ニュース)|現在の(?:価格|天気|時刻|情報|気温|株価)|(?:医療|医学|法律|法的|金融|投資)(?:上|的|に関する)?の?(?:助言|アドバイス|診断)|個人的な(?:意見|感想|経験)|有害な|違法な|そのような|このような|その(?:質問|依頼|要望)|この(?:質問|依頼|要望)|添付)",
        lack=r"(?:ありません|ございません|持って(?:いません|おりません|おらず|いない)|持ち(?:ません|合わせていません|合わせておりません)|持たない|見当たりません|見つかりません|確認できません|受け取っていません|不足しています|足りません|備えていません)",
        lacked=r"(?:個人的な(?:経験|意見|思い出|感情|好み|記憶|体験)(?:は|や|が|を)|(?:感情|意識|身体|肉体|意見|記憶)(?:は|や|が|を)(?!.{0,6}(?:子|人))|機能(?:は|が|を)|能力(?:は|が|を)|アクセス(?:権|する手段|手段)?(?:は|が|を)|情報(?:は|が)|(?:添付|画像|文章|ファイル|本文|記事|音声|テキスト|写真)(?:された.{0,6})?(?:は|が|も))",
        whole=r"(?:申し訳|すみません|残念ながら|ごめんなさい)[^。\n]{0,12}(?:それ|その(?:よう|こと|件)|ご依頼|ご要望|ご質問)[^。\n]{0,8}(?:できません|出来ません|いたしかねます)|(?:この|その|ご)(?:依頼|要望|質問|リクエスト|お願い)[^。\n]{0,16}(?:お断り|控え|辞退|遠慮|拒否)|(?:お答え|回答|作成|提供|生成|対応|言及)(?:を|は|すること(?:を|は))?(?:差し)?(?:控えさせて|控えます|お断り|遠慮させて|見合わせ)|(?:ガイドライン|ポリシー|方針|規約|利用規約)(?:に|の)(?:反|違反|抵触|範囲外)|(?:私|当方)の(?:能力|機能|知識|対応)(?:の)?(?:範囲|外|を超え)"
        r"|(?:文章|画像|ファイル|本文|記事|音声|テキスト|写真|原文|対象)[^。\n]{0,8}(?:添付|記載|提示|入力|提供|送信|アップロード|含まれ)(?:され|さ|)て?(?:いない|いません|おりません|おらず|いなかった)|(?:文章|記事|テキスト|本文|画像|ファイル|原文|内容|詳細|情報)を[^。\n]{0,6}(?:貼り付け|お送り|ご?提供|入力|送信|アップロード|共有|ご?提示|お知らせ|教え|添付)(?:して|て|して頂|)(?:ください|下さい|いただけ|頂け|くださ)",
        verb_last=True,
    ),
    "ko": Words(
        named=r"(?:AI|인공 ?지능|언어 ?모델|챗봇|(?:텍스트 기반|가상|AI) ?(?:어시스턴트|비서|모델|도우미))(?: ?(?:언어 ?)?모델| 어시스턴트| 비서| 챗봇)?(?:로서|로써|이기 ?때문|이므로|이라서|라서|이라|입니다|이어서|이기에|일 뿐)",
        unable=r"(?:수(?:가|는|도)? ?없|못 ?(?:합|하|해|드|한)|지 못|불가|어렵(?:습니다|네요|겠|고)|곤란|안 됩)",
        serve=r"(?:도와 ?(?:드릴|줄|드리기)|제공(?:할|해 드릴|해드릴|하기|드릴)|답변(?:할|드릴|해 드릴|드리기|하기)|대답(?:할|해 드릴|드릴)|응답할|수행(?:할|하기)|생성(?:할|해 드릴|하기)|접근(?:할|하기)|접속(?:할|하기)|들어 ?드릴|처리(?:할|해 드릴)|번역(?:할|해 드릴)|요약(?:할|해 드릴)|이행할|응할|응해 드릴|알려 ?드(?:릴|리지|리기)|말씀 ?드(?:릴|리기)|지원(?:할|하지)|조언(?:은|을)? ?(?:드릴|드리기|해 드릴))",
        handle=r"(?:볼|보는|열|여는|열어|읽을|읽는|들을|듣는|재생|검색|확인|드릴|드리|만들|그릴|쓸|작성|말할|예측|공유|분석|식별|설명|알|표시|보낼|표현|내릴|할|해 드릴|하기|이해|조회|판단|가질|갖)",
        things=r"(?:이미지|사진|동영상|영상|비디오|오디오|녹음|음성|파일|첨부|링크|웹사이트|웹 ?페이지|인터넷|실시간|최신 (?:정보|데이터|뉴스)|현재 (?:가격|날씨|시각|시간|기온|주가)|(?:의학|의료|법률|법적|금융|투자)(?:적|적인)? ?(?:조언|진단|자문|상담)|개인적(?:인)? (?:의견|경험|감정)|유해|불법|그런 |그러한 |이러한 |해당 |이 (?:요청|질문)|그 (?:요청|질문))",
        lack=r"(?:없습니다|없어요|없어서|없기|없으며|없고|없는|가지고 있지|갖고 있지|보이지 않|찾을 수 없|확인되지 않|부족합니다|부족하|받지 못)",
        lacked=r"(?:개인적(?:인)? ?(?:경험|의견|추억|감정|기억|선호|생각)(?:이|은|을|도)|(?:감정|의식|신체|육체|의견)(?:이|은|을|도)|기능(?:이|은|을)|능력(?:이|은|을)|접근 ?권한(?:이|은)|정보(?:가|는)|(?:첨부(?:된|하신)? ?)?(?:이미지|파일|본문|기사|사진|텍스트|문서|글|음성)(?:가|이|은|는|도))",
        whole=r"(?:죄송|미안)[^.!?\n]{0,12}(?:그건|그것은|이건|해당 |그런 )[^.!?\n]{0,12}(?:수 없|불가)|(?:요청|질문|부탁)[^.!?\n]{0,10}(?:거절|거부|사양)(?:하겠|합니다|해야|할 수밖에|드립니다)|(?:답변|대답|언급|작성|제공)(?:을|를|은|하는 것을|하지)? ?(?:삼가|자제|거절|않겠습니다|거부)|(?:지침|정책|가이드라인|원칙|규정)(?:에|을|과|에도) ?(?:어긋|위배|위반|반하|맞지)|(?:제|저의) (?:능력|기능|지식|역할)[^.!?\n]{0,6}(?:범위|벗어|밖)"
        r"|(?:본문|이미지|파일|기사|사진|텍스트|글|문서|음성|내용|원문|문장)(?:이|가|은|는)[^.!?\n]{0,8}(?:첨부|제공|포함|입력|업로드|제시)(?:되지|하지|돼 있지|되어 있지) ?않|(?:본문|텍스트|기사|글|이미지|파일|문장|내용|원문|정보|사진)(?:을|를)[^.!?\n]{0,6}(?:붙여 ?넣|보내|제공|입력|업로드|공유|올려|알려|첨부|제시)[^.!?\n]{0,4}(?:주세요|주시|주십시오|주실|주시면)|다시 (?:업로드|첨부|보내|올려)[^.!?\n]{0,4}(?:주시|주세요|주실)",
        verb_last=True,
    ),
    "th": Words(
        named=r"(?:ในฐานะ(?:ที่)?(?:เป็น)?|เนื่องจาก(?:ฉัน|ผม|ดิฉัน|เรา)?เป็น(?:เพียง|แค่)?|เพราะ(?:ฉัน|ผม|ดิฉัน)เป็น(?:เพียง|แค่)?|(?:ฉัน|ผม|ดิฉัน)เป็น(?:เพียง|แค่)?)\s?(?:โมเดลภาษา|แบบจำลองภาษา|ปัญญาประดิษฐ์|AI|เอไอ|ระบบ AI|แชทบอท|แชตบอต|ผู้ช่วย(?:แบบข้อความ|เสมือน|AI|ที่เป็น AI|ดิจิทัล|อัจฉริยะ))",
        unable=r"(?:(?:ฉัน|ผม|ดิฉัน|เรา|จึง|แต่|ขออภัย(?:ค่ะ|ครับ)?|ขอโทษ(?:ค่ะ|ครับ)?|เสียใจ|น่าเสียดายที่|^)[\s,]?(?:ยัง|ก็|คง)?(?:ไม่สามารถ|ไม่อาจ|ไม่ได้รับอนุญาต))",
        serve=r"(?:ช่วย(?:เหลือ)?|ให้(?:ข้อมูล|คำแนะนำ|คำปรึกษา|ความช่วยเหลือ|บริการ)|ตอบ(?:คำถาม|คำขอ|สนอง)|ดำเนินการ|เข้าถึง|สร้าง(?:เนื้อหา|ภาพ|รูป|คอนเทนต์)|แปล(?:ข้อความ|บทความ)|ทำตามคำขอ|ปฏิบัติตาม|ประมวลผล|สรุป(?:บทความ|ข้อความ)|ท่องเว็บ|ท่องอินเทอร์เน็ต|สนับสนุนคำขอ|บอก(?:ราคา|เวลา|อุณหภูมิ))",
        handle=r"(?:ดู|มองเห็น|เปิด|อ่าน|ฟัง|เล่น|ค้นหา|ตรวจสอบ|ให้|ทำ|สร้าง|วาด|เขียน|บอก|ทำนาย|คาดการณ์|แนะนำ|แชร์|วิเคราะห์|ระบุ|อธิบาย|ทราบ|รู้|แสดง|ส่ง|วินิจฉัย|เห็น|เข้า)",
        things=r"(?:รูปภาพ|รูป|ภาพ|วิดีโอ|คลิป|เสียง|ไฟล์|ลิงก์|เว็บไซต์|เว็บ|อินเทอร์เน็ต|เรียลไทม์|ปัจจุบัน|ล่าสุด|ทางการแพทย์|ทางกฎหมาย|ทางการเงิน|ความเห็นส่วนตัว|ความคิดเห็นส่วนตัว|ที่เป็นอันตราย|ผิดกฎหมาย|คำขอนี้|คำถามนี้|คำขอดังกล่าว)",
        lack=r"(?:(?:ฉัน|ผม|ดิฉัน|เรา|จึง|และ|ขออภัย|เสียใจ)\s?(?:ยัง|ก็)?(?:ไม่มี|ไม่เห็น|มองไม่เห็น|ไม่พบ|ขาด|ไม่ได้รับ)|^ไม่(?:มี|พบ|เห็น))",
        lacked=r"(?:สิทธิ์เข้าถึง|การเข้าถึง|ความสามารถ|ข้อมูล(?:เรียลไทม์|ล่าสุด|เพียงพอ|เกี่ยวกับ|ปัจจุบัน|ที่เพียงพอ|มากพอ|เรื่อง)?|ความคิดเห็นส่วนตัว|(?:ความรู้สึก|อารมณ์|ประสบการณ์|ความทรงจำ|ความชอบ|ความเชื่อ|ความเห็น)(?:ส่วนตัว|หรือ|เป็นของ|แบบ|ของตัวเอง)|ร่างกาย|จิตสำนึก|(?:รูปภาพ|ไฟล์|ข้อความ|บทความ|ภาพ|เอกสาร|รูป|เสียง)(?:ที่แนบ|แนบ|ใด))",
        whole=r"(?:ต้อง|จำเป็นต้อง|ขอ)(?:ปฏิเสธ|ไม่ตอบ)(?:คำขอ|คำถาม|ที่จะ|การ)|(?:ขัดกับ|ขัดต่อ|ละเมิด|ฝ่าฝืน|เกิน|นอกเหนือ)(?:จาก)?(?:แนวทาง|นโยบาย|หลักการ|กฎ|ขอบเขต|ความสามารถ|ข้อกำหนด)(?:ความสามารถ)?(?:ของ)?(?:ฉัน|ผม|ดิฉัน|การใช้งาน)|(?:ฉัน|ผม|ดิฉัน)ไม่ได้ถูก(?:ออกแบบ|สร้าง|ตั้งโปรแกรม|ฝึก)|(?:ฉัน|ผม|ดิฉัน|ขออภัย(?:ค่ะ|ครับ)?|ขอโทษ(?:ค่ะ|ครับ)?|เสียใจ|น่าเสียดายที่(?:ฉัน|ผม|ดิฉัน)?)\s?(?:ฉัน|ผม|ดิฉัน)?(?:เข้าถึง|เปิด|ดู|อ่าน|ฟัง|บอก|ช่วย|ตอบ|ทำ|ให้)(?!คุณ)[^\n]{0,30}?ไม่ได้(?:\s|$|จึง|เพราะ|เนื่อง|ค่ะ|ครับ)(?!รับ)"
        r"|(?:คุณ|ท่าน)?(?:ยัง)?ไม่ได้(?:แนบ|ส่ง|ให้|ระบุ|วาง|อัปโหลด)(?:ข้อความ|บทความ|รูป|ภาพ|ไฟล์|เอกสาร|เนื้อหา|มา)|ไม่มี(?:ข้อความ|บทความ|รูป|ภาพ|ไฟล์|เอกสาร)[^\n]{0,8}(?:แนบ|ส่ง)มา|(?:กรุณา|โปรด|ช่วย|รบกวน)(?:วาง|ส่ง|แนบ|อัปโหลด|ให้|แชร์|ระบุ)(?:ข้อความ|บทความ|รูป|ภาพ|ไฟล์|เอกสาร|เนื้อหา|ข้อมูล)[^\n]{0,20}(?:ที่ต้องการ|ที่คุณ|ที่จะให้|เพื่อ|มาด้วย|อีกครั้ง|เพิ่มเติม)",
    ),
}

LANGUAGES = tuple(_WORDS)
"""The languages with words of their own."""
