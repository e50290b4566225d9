"""Patterns of answers that decline without saying "I cannot": by what lies outside of one's remit, by unwillingness, by what never arrived.

They are built from a language's grammar: whose inability or unwillingness it is (the first person, by pronoun or by the
verb's ending, humble forms, "this model", "our system"), how it is said, and of what. The patterns are applied elsewhere.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Grammar:
    """The patterns of one language; each text holds alternatives."""

    first: str
    """The first person, not followed by what it likes or thinks."""

    negative: str
    """Words that deny. One beside the first person is a refusal, where an answer is not to speak in somebody's voice."""

    assistant: tuple[str, ...]
    """What hardly anyone but an assistant says, in any text: remit, competence, what was not sent, one's data, content one refuses."""

    speaker: tuple[str, ...]
    """What is a refusal only where an answer is not to speak in somebody's voice: regret, reluctance, and denials whose verb has the person in its ending."""


LATIN: Mapping[str, Grammar] = {
    "en": Grammar(
        first=r"\b(?:I|me|my|mine|myself)\b(?![^.!?\n]{0,14} (?:think|believe|like|love|liked|loved|prefer|recommend|suggest|choose|agree|hope|mean|favou?r|enjoy|want|wish|favou?rite))",
        negative=r"\b(?:no|not|\w+n't|none|nothing|never|neither|nor|cannot|hardly|unable|impossible)\b",
        assistant=(
            r"\b(?:outside|beyond|not within|exceeds?|past|out of) (?:of )?(?:(?:the )?(?:scope|range|bounds|limits|realm|area) of )?(?:my|our|its|this (?:assistant|model|system)'s) (?:\w+ ){0,2}?(?:abilit|capabilit|competen|expertise|remit|purview|programming|skill ?set)\w*",
            r"\b(?:outside|beyond|more than|exceeds?|out of) (?:of )?(?:what|anything) (?:I|we|an? (?:AI|assistant|(?:language )?model|chatbot|bot|program)|this (?:assistant|model|system)) (?:can|could|am able to|'m able to|are able to|is able to|may) (?:do|offer|judge|assess|provide|help|assist|handle|determine|process|give|answer|evaluate|discuss|advise)\b",
            r"\b(?:isn't|is not|aren't|are not|never) (?:something|anything|a thing|a task|an area|things?) (?:that |which )?(?:I|we|this (?:assistant|model|system)|an AI)(?:'m| am|'re| are| is)? (?:can|could|do\b|will|offer|give|provide|handle|able|allowed|permitted|equipped|in a position|comfortable|willing|prepared|qualified|going to)",
            r"\b(?:I(?:'m| am)|we(?:'re| are)) (?:not|neither|hardly|in no way) (?:really |actually )?(?:qualified|licensed|authori[sz]ed|entitled|certified|in (?:a|any) position|competent)\b[^.!?\n]{0,16}\b(?:giv|provid|offer|advis|judg|say|assess|diagnos|tell|answer|comment|recommend|speak|predict|forecast)",
            r"\bI(?:'m| am)? (?:won't|will not|refuse to|decline to|(?:would|'d) rather not|(?:would |'d )?prefer not to|choose not to|do not|don't|am not going to|not going to|unwilling to|not willing to|not comfortable|avoid|refrain from) ?(?:with )?(?:\w+ly )?(?:writ|produc|creat|generat|mak|mock|compos|build|publish|shar|reveal|disclos|encourag|support|promot|draft|assist|help|contribut|tak\w* part|participat|engag|discuss|ridicul)\w*\b[^.!?\n]{0,30}\b(?:such|like (?:that|this)|(?:that|this|the) (?:kind|sort|type)|content|material|anything (?:that|meant|intended|designed)|things (?:that|meant|designed)|something that|(?:a )?(?:specific|particular|real|private) (?:person|individual|people|detail)|individuals|demean\w*|hurt\w*|harm\w*|hate\w*|offens\w*|sexual|insult\w*|disparag\w*|illegal)",
            r"\b(?:missing|absent|left out|omitted|dropped|lost) (?:from|in|out of) (?:your|the) (?:message|request|prompt|question|chat|conversation|input)\b|\bnothing (?:was|has been|is|seems to be|appears to be|got) (?:attached|included|pasted|uploaded|provided)\b",
            r"\b(?:only|just|nothing but|solely|exclusively) (?:receive|get|work with|process|handle|deal (?:in|with)|the) ?(?:words|text|letters|characters)\b(?! me)|\b(?:receive|get|work with|process|handle|deal in) (?:only|just|nothing but|solely) (?:words|text|letters|characters)\b",
            r"\bmy (?:\w+ )?(?:knowledge|training|training data|information|data|dataset)\b[^.!?\n]{0,12}\b(?:doesn't|does not|don't|do not|isn't|is not|was|were|is|are) (?:\w+ )?(?:cover|include|contain|extend|frozen|fixed|collected|outdated|out of date)|\bas of my (?:last|latest|most recent) (?:update|training)\b[^.!?\n]{0,60}\b(?:I (?:don't|do not|have no|cannot|can't)|unknown)",
            r"\b(?:this|our) (?:assistant|model|chatbot|AI|(?:AI )?system|service|platform|bot)\b[^.!?\n]{0,12}\b(?:can(?:not|'t)|is(?:n't| not) (?:able|allowed|permitted|designed|meant)|(?:does not|doesn't|won't|will not) (?:open|read|see|provide|give|share|produce|generate|access|support|browse|write|offer|handle|process)|avoids?|declines?|refuses?|refrains?)\b|\bwe(?:'re| are)? (?:cannot|can't|unable to|not able to|not (?:allowed|permitted) to|won't|will not|do not|don't) (?:produce|provide|generate|create|write|share|support)\b[^.!?\n]{0,20}\b(?:content|material|requests? of|such)",
            r"\b(?:being|I(?:'m| am)) (?:just |only |merely |nothing but |simply )?(?:an? )?(?:(?:piece|bit) of )?(?:software|(?:computer )?program|lines of code|text[- ]based (?:assistant|model|AI|system))\b(?=[^\w\s-]|$| (?:and|so|that|with|without|I))",
            r"\b(?:not|isn't|aren't|never|hardly) (?:\w+ )?(?:among|part of|one of|within|in|included in|covered by) (?:my|our) (?:\w+ )?(?:tasks?|roles?|jobs?|duties|functions?|services?|responsibilit\w+|toolbox|repertoire)\b|\b(?:not|isn't|aren't) among (?:the )?things (?:that )?(?:I|we) (?:do|can|offer)\b|\bI(?:'m| am) (?:completely |quite )?(?:blind|deaf) to (?:pictures|images|photos|paintings|sounds?|audio|videos?)\b",
        ),
        speaker=(
            r"\bI (?:really |simply |just |honestly |actually |personally )?(?:do not|don't|did not|didn't|have not|haven't|have never|had never|won't|will not|wouldn't|would not|refuse|decline|am not|was not|wasn't|must (?:decline|pass|refuse)|have to (?:pass|decline|refuse)|have no|had no|lack|prefer not|would rather not|would prefer not)\b(?! (?:think|believe|agree|mind|like|want|suppose|doubt|see why|only|just|sure that))|\bI'm not\b(?! (?:sure that|against|saying))|\bI've (?:never|no)\b|\bI'd (?:rather|prefer) not\b|\bI'll (?:have to )?(?:pass|decline|leave that|refrain)\b",
            r"^\W*(?:(?:I'm|I am|we're|we are|so|very|really|terribly|my|oh|hmm),? )*(?:sorry|apologies|apologi[sz]e)\b|^\W*(?:let's|let us|better|I'd better|rather) not\b",
            r"\b(?:beyond|outside|out of|not in|not within) (?:of )?my (?:reach|power|knowledge|means|hands|role|scope|field|area)\b|\bnot (?:my (?:place|role|call|field|area)|for me) to\b|\b(?:is|are) (?:unknown to|beyond) me\b|\bI have no (?:idea|clue|way)\b|\b(?:escapes?|eludes?) me\b",
            r"\b(?:has not|hasn't|have not|haven't|had not|never|didn't|did not|do not|don't|does not|doesn't) (?:yet )?(?:reach(?:ed)? (?:me|us)|c[ao]me through|arrived?(?: here)?|made? it (?:to me|through)|ma[dk]e it (?:to me|through))\b",
            r"\bthere (?:was|is|were|are|has been) no \w+\b[^.!?\n]{0,16}\b(?:for me|in my (?:case|existence))|\bwe (?:do not|don't|won't|will not|cannot|can't) (?:give|offer|provide|share|hand out|help|assist|answer|discuss|recommend)\b",
            r"\b(?:isn't|is not|not|hardly) (?:really )?my (?:job|role|place|business|call|department|concern|duty|task)\b|\b(?:that's|that is|it's|it is) a no\b|\b(?:no can do|not possible for me|nothing (?:that )?I know)\b|\bI(?:'m| am) (?:afraid|unable|powerless|unfit|blind|deaf)\b",
        ),
    ),
    "es": Grammar(
        first=r"\b(?:yo|me|mí|mi|mis|conmigo|mío|mía)\b(?![^.!?\n]{0,14} (?:gusta|gustan|gustaría|encanta|encantaría|parece|interesa|favorit|opinión|consejo))",
        negative=r"\b(?:no|ni|nunca|jamás|nada|nadie|ningun[oa]s?|ningún|tampoco|imposible)\b",
        assistant=(
            r"\b(?:fuera de|más allá de|excede|exceden|supera|superan|sobrepasa|rebasa|escapa a|escapan a|no entra en|no está entre|no forma parte de) (?:el ámbito de |los límites de )?(?:mis|mi|nuestras|nuestra|sus) (?:\w+ )?(?:alcance|capacidad|competencia|funci|habilidad|facultad|posibilidad|cometido|atribuci|especialidad)\w*",
            r"\b(?:lo que|más de lo que) (?:yo |un |una |este |esta )?(?:asistente |modelo |IA |programa |chatbot |sistema )?(?:puedo|puede|podría|soy capaz de|es capaz de) (?:hacer|valorar|juzgar|ofrecer|evaluar|responder|determinar|aconsejar|proporcionar|tratar)\b(?<=(?:supera|excede|allá de|fuera de|rebasa|escapa a|sobrepasa|asistente|modelo|sistema)\b[^.!?\n]{0,40})",
            r"\bno (?:soy|estoy) (?:quién|nadie|la persona|el indicad[oa]|cualificad[oa]|capacitad[oa]|autorizad[oa]|facultad[oa]|habilitad[oa]|en posición|en condiciones)\b[^.!?\n]{0,16}\b(?:aconsej|recomend|decir|opin|juzg|valor|diagnostic|dar|ofrec|evalu|predec|asesor)\w*|\bno me (?:corresponde|compete|toca|incumbe) (?:a mí )?(?:aconsej|recomend|dar|opin|decir|valor|juzg|evalu|asesor)\w*",
            r"\b(?:me niego a|rehúso|rechazo|me abstengo de|evito|no (?:voy a|pienso|quiero|deseo|pretendo)|prefiero no|preferiría no|no me siento cómod[oa]) ?(?:con )?(?:escrib|redact|produc|cre|gener|compon|elabor|particip|colabor|difund|compart|revel|burl|ridiculi|contribu|fabric|promov|fom|ofend|insult|tratar|hacer|public)\w*\b[^.!?\n]{0,30}\b(?:así|es[aeo] tipo|este tipo|ese estilo|semejante|tal(?:es)?|algo (?:que|como)|cosas (?:que|como|así)|contenidos?|persona|personas|nadie|dañ\w+|ofens\w+|ofend\w+|sexual\w*|ilegal\w*|odio)\b|\b(?:no (?:escribo|redacto|produzco|creo|genero|hago|fabrico|elaboro)) (?:ese|este|esas|estas|tal|cosas|algo|contenido|textos)[^.!?\n]{0,30}\b(?:así|tipo|dañ\w+|daño|ofens\w+|pensad\w+|sexual\w*|que)\b",
            r"\b(?:falta|faltan|se ha quedado fuera|se quedó fuera|se ha perdido|se perdió|ausente|no (?:venía|vino|viene|llegó|ha llegado|aparecía)) (?:de|en|con|por) (?:tu|su|el|vuestro) (?:mensaje|solicitud|petición|consulta|pregunta|envío)\b",
            r"\b(?:solo|sólo|solamente|únicamente|exclusivamente|nada más que) (?:trabajo|recibo|proceso|manejo|leo|trato|veo) (?:con |el |las? )?(?:palabras|texto|letras|textos)\b|\b(?:trabajo|recibo|proceso|manejo) (?:solo|sólo|solamente|únicamente|exclusivamente) (?:con )?(?:palabras|texto|letras)\b",
            r"\b(?:mis|mi) (?:datos|conocimientos?|información|entrenamiento)\b[^.!?\n]{0,12}\bno (?:incluye|incluyen|abarca|abarcan|contiene|contienen|recoge|recogen|cubre|cubren|está|están|comprende)\w*|\b(?:a fecha de|hasta|según|desde) mi (?:última|más reciente) (?:actualización|puesta al día)\b[^.!?\n]{0,50}\b(?:no|ignoro|desconozco)\b",
            r"\b(?:este|esta|nuestro|nuestra) (?:asistente|modelo|chatbot|sistema|IA|servicio|plataforma)\b[^.!?\n]{0,16}\b(?:no (?:puede|abre|lee|ve|ofrece|da|comparte|genera|produce|accede|está|admite|permite|procesa)|evita|rechaza|se abstiene|rehúsa)\b|\bno (?:nos|me) (?:está|es|fue) (?:permitid[oa]|autorizad[oa])\b[^.!?\n]{0,30}\b(?:contenidos?|producir|generar|crear|dar|ofrecer|compartir|escribir)|\bno (?:podemos|damos|ofrecemos|generamos|producimos|creamos|compartimos|proporcionamos) (?:\w+ ){0,2}?(?:contenido|consejos?|asesoramiento|recomendaciones)\b",
            r"\b(?:al (?:ser|no ser más que)|por ser|no soy (?:más que|sino)|soy (?:solo |sólo |simplemente |meramente |un simple )?)(?:un |una )?(?:programa|software|máquina|conjunto de código)\b(?=[^\w\s]|$| (?:y|de|que|sin|informático|no))",
            r"\bno (?:está|figura|figuran|entra|se encuentra|se cuenta|forma parte|es parte)\w*(?: \w+)? (?:entre|en|de|dentro de) (?:mis|mi|nuestras?|nuestros?) (?:\w+ )?(?:tareas?|papel|funci\w+|labor\w*|servicios?|cometidos?|obligaci\w+|trabajo|repertorio)\b|\bsoy (?:ciego|ciega|sordo|sorda) (?:a|para) (?:las? |los? |el )?(?:imágen\w+|fotos?|sonido\w*|cuadros|vídeos?)",
        ),
        speaker=(
            r"\bno (?:(?:me|te|le|lo|la|los|las|se|os|les|nos) ){0,2}(?!solo\b|sólo\b|todo\b|mucho\b|tanto\b|como\b|cuando\b|poco\b|creo\b|pienso\b|opino\b|considero\b|estoy de acuerdo|bajo\b|dudo\b|quiero decir|necesari|es\b|\w+ndo\b|\w+[aei]do\b|bueno\b|malo\b|largo\b|cierto\b|claro\b|sobrecargo|\w+iento\b|\w+ado\b|sino\b|cero\b)(?:tengo|puedo|hago|dispongo|poseo|doy|soy|sé|he|voy a|estoy|conozco|recuerdo|siento|veo|cuento con|como|duermo|ofrezco|colaboro|ayudo|fabrico|escribo|\w+ré)\b|\b(?:jamás|nunca) (?:me |lo |la )?(?:he|hago|puedo|tengo|doy|como|escribo|\w+ré)\b|\b(?:carezco de|ignoro|desconozco|me niego|rehúso|prefiero no|preferiría no|me abstengo|me resisto|declino|paso de)\b",
            r"^\W*(?:pues |vaya,? |ay,? |uy,? )?(?:lo (?:siento|lamento)|perdón|perdona|perdone|disculpa|disculpe|mis disculpas|me temo que)\b|^\W*(?:mejor|más vale|preferible|será mejor) (?:que )?no\b",
            r"\b(?:fuera de|más allá de|no está (?:en|a|al)) (?:mi |mis )?(?:mi )?(?:alcance|mano|manos|poder|conocimiento)\b|\bno me (?:corresponde|compete|toca|consta|incumbe)\b|\b(?:se me escapan?|me es desconocid\w+|me resultan? desconocid\w+|no tengo ni idea)\b",
            r"\b(?:no (?:me|nos) (?:ha|han) llegado|no (?:me|nos) llegan?|no (?:me|nos) llegó|no llegan? hasta mí|no ha llegado hasta mí)\b",
            r"\ben mi caso no (?:hay|hubo|existe|existen)\b|\bno (?:damos|ofrecemos|facilitamos|compartimos|podemos|ayudamos)\b(?= (?:\w+ ){0,3}(?:consejo|recomend|ayud|información|dato|dar|ofrecer))",
            r"\bno (?:es|son|soy yo) (?:mi|mis|asunto mío|cosa mía|tarea mía|quien debe|quién para|el más indicado)\b(?: (?:papel|tarea|función|trabajo|asunto|labor))?|\b(?:de eso nada|ni hablar|imposible para mí|me temo)\b|\b(?:me veo incapaz|soy incapaz|estoy impedid\w+)\b",
        ),
    ),
    "fr": Grammar(
        first=r"\b(?:je|moi|mon|ma|mes|mien|mienne)\b(?![^.!?\n]{0,14} (?:pense|crois|préfère|aime|adore|trouve|recommande|conseille|suis d'accord|plat|avis))|\b[jm]'(?!aime|adore|apprécie)",
        negative=r"\b(?:ne|pas|aucune?|rien|jamais|ni|impossible)\b|\bn'",
        assistant=(
            r"\b(?:hors de|en dehors de|au-delà de|dépasse(?:nt)?|excède(?:nt)?|outrepasse(?:nt)?|sort(?:ent)? de|n'entrent? pas dans|ne fai(?:t|sait|sant|ont)? pas partie de|ne relèvent? pas de) (?:le (?:champ|cadre|domaine) de )?(?:mes|mon|ma|nos|notre) (?:\w+ )?(?:capacité|compétence|ressort|attribution|domaine|champ|fonction|aptitude|possibilité|expertise|mission)\w*|\bn'est pas de (?:mon|ma|notre) (?:ressort|compétence|domaine)",
            r"\b(?:dépasse(?:nt)?|au-delà de|hors de|excède(?:nt)?)\b[^.!?\n]{0,6}\bce (?:que|qu'|qu'une?) ?(?:je |une? |ce |cet |l')?(?:assistant |modèle |IA |programme |chatbot |système )?(?:peux|puis|peut|suis|est|saurais|saurait)\b",
            r"\bje ne suis (?:pas|nullement|guère|en rien)(?: \w+)? (?:qualifiée?|habilitée?|compétente?|autorisée?|bien placée?|en (?:mesure|position))\b[^.!?\n]{0,16}\b(?:conseil|recommand|dire|juger|donner|fournir|évalu|prédire|diagnosti|prononc)\w*|\bil ne m'(?:appartient|revient|incombe) pas\b",
            r"\bje (?:me refuse à|refuse de|décline|m'abstiens de|évite de|m'interdis de|ne (?:vais|veux|souhaite|compte) pas|préfère ne pas|préférerais ne pas|ne suis pas à l'aise) ?(?:pour |à l'idée de )?(?:me |vous |t')?(?:écri|rédig|produi|cré|génér|compos|élabor|particip|collabor|diffus|partag|révél|moqu|ridiculis|contribu|fabriqu|encourag|insult|trait|abord|fai|publi)\w*\b[^.!?\n]{0,34}\b(?:tel|tels|telle|telles|pareil|pareille|ce genre|cette sorte|ce type|de la sorte|contenus?|quelque chose (?:qui|comme)|personne|personnes|individu|nui\w+|offens\w+|haine\w*|haineu\w+|sexuel\w*|illéga\w+|dénigr\w+|insult\w+)\b|\bje n'(?:écris|élabore|invente) (?:pas|rien|jamais)\b[^.!?\n]{0,30}\b(?:genre|sorte|tel|telle|nui\w+|contenus?)\b|\bje ne (?:fabrique|produis|rédige|crée|génère|fais) (?:pas|rien|jamais|aucun)\b[^.!?\n]{0,30}\b(?:genre|sorte|tel|telle|nui\w+|contenus?)\b",
            r"\b(?:manque|manquer|manquante?|absente?|omise?|oubliée?|perdue?)\b[^.!?\n]{0,6}\b(?:dans|de|à) (?:votre|ton|le) (?:message|demande|requête|envoi)\b",
            r"\bje (?:ne )?(?:travaille|reçois|traite|manie|lis|vois)(?: qu'| que)?(?: uniquement| seulement| exclusivement)?(?: avec| que)? ?(?:des |le |du |les )?(?:mots|texte|lettres)\b(?<=(?:ne|uniquement|seulement|exclusivement)\b[^.!?\n]{0,34})",
            r"\b(?:mes|mon|ma) (?:données|connaissances|informations?|entraînement)\b[^.!?\n]{0,12}\bn(?:e |')(?:couvr|inclu|compren|contien|comport|vont|sont|s'étend|englob)\w*|\b(?:à|lors de|depuis|selon|d'après) ma (?:dernière|plus récente) mise à jour\b[^.!?\n]{0,50}\b(?:ne|n'|ignore)\b",
            r"\b(?:ce|cet|cette|notre) (?:assistant|modèle|chatbot|système|IA|service|plateforme)\b[^.!?\n]{0,12}\b(?:ne (?:peut|lit|voit|donne|partage|génère|produit|propose|fournit|permet|traite)|n'(?:ouvre|offre|accède|est pas|autorise)|évite|refuse|décline|s'abstient)\b|\b(?:il ne (?:nous|m')\s?(?:est|a) pas|il ne m'est pas|nous ne (?:sommes|pouvons) pas|on ne (?:peut|me permet) pas)\b[^.!?\n]{0,24}\b(?:permis|autorisés?|produire|générer|créer|fournir|donner)\b[^.!?\n]{0,20}\b(?:contenus?|conseils?|informations?)",
            r"\b(?:n'étant|étant|je ne suis) (?:qu')?(?:un |une )?(?:simple )?(?:programme|logiciel|machine)\b(?=[^\w\s]|$| (?:et|de|qui|sans|informatique))",
            r"\bne (?:figure|figurent|fait|font|compte|comptent|rentre|rentrent|entre|relève|relèvent)(?:nt)? pas (?:parmi|partie de|dans|au nombre de|de) (?:mes|mon|ma|nos|notre) (?:\w+ )?(?:tâches?|rôles?|fonctions?|attributions?|missions?|services?|travail)\b|\bje suis (?:aveugle|sourde?) (?:à|aux|au) ?(?:l')?(?:images?|photos?|sons?|tableaux|vidéos?)",
        ),
        speaker=(
            r"\bje n(?:e |')(?:(?:me|te|vous|le|la|les|y|en|t'|m'|l') ?){0,2}(?!crois|pense|trouve pas (?:que|ça)|doute|suis pas (?:d'accord|contre|sûre? qu)|partage pas)\w+(?: \w+)? (?:pas|plus|jamais|aucune?|nul(?:le)?|guère|rien|point)\b|\b(?:j'ignore|je me refuse|je refuse|je décline|je m'abstiens|je préfère ne|je préférerais ne|j'aime mieux ne|je suis (?:dépourvue?|incapable|privée?)|je manque de|je passe mon tour)\b|\bn'ayant (?:pas|jamais|aucune?|ni)\b|\bdépourvue? d[e']",
            r"^\W*(?:eh bien,? |oh,? |ah,? |hélas,? )?(?:(?:je suis|j'en suis) )?(?:vraiment |sincèrement |tout à fait )?(?:désolée?|navrée?|pardon|excusez-moi|excuse-moi|mes excuses|toutes mes excuses)\b|^\W*(?:mieux vaut|il vaut mieux|autant|plutôt|vaut mieux) (?:ne )?pas\b",
            r"\b(?:hors de|au-delà de|en dehors de) (?:ma|mon|mes) (?:portée|pouvoir|connaissances?|domaine)\b|\b(?:m'échappent?|m'est inconnue?|me sont inconnus?|me sont inconnues|aucune idée)\b|\b(?:ce n'est pas à moi|il ne m'appartient pas|il ne me revient pas)\b",
            r"\b(?:ne m'(?:est|sont|a|ont) (?:pas |jamais |point )?(?:parven|arriv|été transmis)\w*|n'(?:est|sont) (?:pas|jamais) (?:arrivée?s?|parvenue?s?)|ne me parv(?:ient|iennent))\b",
            r"\bdans mon cas\b[^.!?\n]{0,10}\b(?:il n'y|n'existe)\b|\b(?:on|nous) ne (?:donn|fourni|partag|propos|répond|aid|conseill)\w+ (?:pas|aucun|jamais)\b",
            r"\bce n'est (?:pas|nullement) (?:mon|ma|à moi|mes) ?(?:rôle|tâche|travail|affaire|mission|place)?\b|\b(?:n'y comptez pas|n'y compte pas|hors de question|impossible pour moi)\b|\bje (?:crains|suis au regret|me vois contraint\w*)\b",
        ),
    ),
    "de": Grammar(
        first=r"\b(?:ich|mir|mich|mein(?:e|er|en|em|es)?)\b(?![^.!?\n]{0,14} (?:glaube|denke|finde|mag|liebe|empfehle|rate|bevorzuge|hoffe|meine|Lieblings))",
        negative=r"\b(?:nicht|kein(?:e|en|er|em|es)?|nichts|nie|niemals|fehlt|weder|unmöglich)\b",
        assistant=(
            r"\b(?:außerhalb|jenseits|übersteigt|übersteigen|überschreitet|sprengt|geht über|gehört nicht zu|gehören nicht zu|fällt nicht in|liegt nicht in)\b[^.!?\n]{0,6}\b(?:meine[nrsm]?|unsere[nrsm]?|des Rahmens meine[rs]) (?:\w+ )?(?:Fähigkeit|Möglichkeit|Kompetenz|Zuständigkeit|Aufgabe|Befugnis|Fachgebiet|Rahmen|Funktion|Bereich|Können|Leistungsumfang)\w*",
            r"\b(?:außerhalb dessen|jenseits dessen|übersteigt(?: das)?|mehr als das|geht über das hinaus|über das hinaus),? was (?:ich|wir|eine?|dieser?|dieses) ?(?:\w+ )?(?:\w*[Aa]ssistent|\w*[Mm]odell|KI|Chatbot|Programm|System)?\w* ?(?:\w+ )?(?:kann|darf|vermag|können|leisten|beurteilen|einschätzen|beantworten)\b",
            r"\b(?:ich bin|bin ich|mir steht|steht mir|ich fühle mich)\b[^.!?\n]{0,24}\b(?:nicht|kein\w*|unzureichend) (?:\w+ ){0,2}?(?:qualifiziert|befugt|berechtigt|zuständig|ausgebildet|Urteil|Rat\b|Ratschl\w+|Empfehlung\w*|Fachm\w+)",
            r"\bich (?:weigere mich|lehne (?:es )?ab|verzichte darauf|unterlasse es|vermeide es|sehe davon ab|werde (?:\w+ )?nicht|will (?:\w+ )?nicht|möchte (?:\w+ )?(?:lieber )?nicht|möchte davon absehen|möchte kein\w*|werde kein\w*|verfasse kein\w*|schreibe kein\w*|erstelle kein\w*|erzeuge kein\w*|baue nichts|mache nichts|schreibe nichts|helfe nicht)\b[^.!?\n]{0,50}\b(?:so etwas|solche\w*|derartige\w*|dergleichen|Inhalte?\w*|dieser Art|Person\w*|schad\w+|schäd\w+|beleidig\w+|verletz\w+|sexuell\w*|illegal\w*|verfassen|beitragen|mitwirken|beteiligen|herabwürdig\w+|verhöhn\w+)|\b(?:so etwas|solche \w+|derartiges?|dergleichen) (?:schreibe|verfasse|erstelle|erzeuge|mache|produziere|liefere|unterstütze) ich\b|\b(?:dabei|dazu|hierbei|hierzu|damit) (?:helfe|unterstütze|assistiere) ich\b[^.!?\n]{0,12}\bnicht\b",
            r"\b(?:fehlt|fehlen|fehlte|vermisse ich|verloren gegangen|weggelassen|ausgeblieben)\b[^.!?\n]{0,10}\bin (?:Ihrer|deiner|der) (?:Nachricht|Anfrage|Frage|Eingabe)\b|\bin (?:Ihrer|deiner) (?:Nachricht|Anfrage|Frage)\b[^.!?\n]{0,10}\bfehl(?:t|en)\b",
            r"\b(?:ausschließlich|nur|lediglich|allein) (?:mit|auf) (?:Wort\w*|Text\w*|Buchstaben)\b(?= |[.,;]|$)(?<=\b(?:ich|ich arbeite|arbeite|verarbeite|beruhe|basiere)\b[^.!?\n]{0,40})",
            r"\bmein\w* (?:Daten|Trainingsdaten|Wissen|Informationen|Datenstand)\b[^.!?\n]{0,40}\b(?:enthalten|umfassen|umfasst|enthält|beinhalten|abdecken|decken)\b[^.!?\n]{0,40}\b(?:nicht|kein\w*)\b|\b(?:nach|laut|seit|zu) meine[mr] (?:letzten|jüngsten|neuesten) (?:Stand|Aktualisierung|Update)\b[^.!?\n]{0,50}\b(?:nicht|unbekannt|kein\w*)\b",
            r"\b(?:dieser|dieses|diese|unser|unsere) (?:\w*[Aa]ssistent|\w*[Mm]odell|Chatbot|System|KI|Dienst|Plattform|Programm)\b[^.!?\n]{0,40}\b(?:nicht|kein\w*|verweigert|vermeidet|lehnt)\b|\b(?:gibt|darf|kann|öffnet|teilt|liefert|erzeugt) (?:dieser|dieses|diese|unser|unsere) (?:\w*[Aa]ssistent|\w*[Mm]odell|Chatbot|System|KI)\b[^.!?\n]{0,20}\b(?:nicht|kein\w*)\b|\b(?:uns|mir) ist es\b[^.!?\n]{0,10}\b(?:nicht|un)\s?(?:gestattet|erlaubt|möglich|tersagt)|\bwir (?:dürfen|können|erstellen|erzeugen|geben|liefern) (?:hier )?(?:leider )?keine\b[^.!?\n]{0,24}\b(?:Inhalte|Ratschläge|Tipps|Auskünfte|Empfehlungen)\b",
            r"\b(?:ich bin|bin ich|als)\b[^.!?\n]{0,14}\b(?:nur |bloß |lediglich |schließlich |ja )?(?:eine? )?(?:bloße[sr]? |reine[sr]? )?(?:Software|Computerprogramm|Programm|Maschine)\b(?=[^\w\s]|$| (?:und|ohne|habe|kann|besitze))",
            r"\b(?:zählt|zählen|gehört|gehören|fällt|fallen) nicht (?:zu|in|unter) (?:meine[nmr]?|unsere[nmr]?) (?:\w+ )?(?:Aufgaben?\w*|Rolle|Funktion\w*|Pflichten|Leistungen|Repertoire)\b|\bfür (?:Bilder|Fotos|Töne|Gemälde|Videos) bin ich (?:blind|taub)\b|\bich bin (?:für|gegenüber) \w+ (?:blind|taub)\b",
        ),
        speaker=(
            r"\b(?:ich|mir|mich)\b(?! (?:glaube|denke|finde|meine|halte|bin (?:nicht |dagegen|anderer|der Meinung)|stimme|zweifle))[^.!?\n]{0,40}\b(?:nicht|kein(?:e|en|em|er|es|erlei)?|nichts|nie|niemals|noch nie|unbekannt|fremd|weder|verwehrt|unmöglich)\b|\b(?:kein\w*|nicht)\b[^.!?\n]{0,30}\b(?:bei mir|zu mir|an mich|mir vor)\b|\b(?:entzieht|entziehen) sich mir\b|\bich (?:verzichte|weigere mich|lehne ab|passe)\b|\blieber nicht\b|\b(?:bin|habe|kann|weiß|kenne|schmecke|fühle|gebe|helfe|leiste|mache|schreibe|baue) ich\b[^.!?\n]{0,24}\b(?:nicht|kein\w*|nichts|nie)\b",
            r"^\W*(?:ach,? |oh,? |hm+,? )?(?:(?:es )?tut mir (?:\w+ )?leid|entschuldig\w*|verzeih\w*|bedaure\w*|ich bedaure|sorry|pardon)\b|^\W*(?:lassen wir|besser nicht|lieber nicht)\b",
            r"\b(?:außerhalb|jenseits) meine[rs] (?:Reichweite|Macht|Kenntnis\w*)\b|\bsteht (?:es )?mir nicht zu\b|\b(?:keine Ahnung|nicht meine (?:Sache|Aufgabe)|nicht an mir)\b",
            r"\b(?:ist|sind|kam|kommen|kommt|wurde) (?:bei mir|hier|mir) (?:\w+ )?(?:nicht|nie|kein\w*)\b",
            r"\bgib(?:t|t es) (?:es )?(?:hier|bei (?:mir|uns)) (?:leider )?(?:kein\w*|nicht)\b|\b(?:hier|bei (?:mir|uns)) (?:gibt|gab) es\b[^.!?\n]{0,10}\b(?:kein\w*|nicht)\b|\bgibt es (?:hier|bei mir) keine\b",
            r"\bnicht (?:meine|mein) (?:Sache|Aufgabe|Rolle|Job|Amt)\b|\b(?:daraus wird (?:leider )?nichts|kommt (?:für mich )?nicht in ?frage|unmöglich für mich)\b|\bich (?:fürchte|bedaure|muss passen)\b",
        ),
    ),
    "pt": Grammar(
        first=r"\b(?:eu|me|mim|comigo|meu|minha|meus|minhas)\b(?![^.!?\n]{0,14} (?:gosto|adoro|acho|penso|prefiro|recomendo|favorit|opinião|conselho))",
        negative=r"\b(?:não|nem|nunca|jamais|nada|ninguém|nenhuma?|algum|tampouco|impossível)\b",
        assistant=(
            r"\b(?:fora d[aeo]s?|além d[aeo]s?|excede(?:m)?|supera(?:m)?|ultrapassa(?:m)?|foge(?:m)? (?:a|à|ao|às|aos|d[aeo]s?)|escapa(?:m)? (?:a|à|ao|às|aos)|não faz parte d[aeo]s?|não está entre) ?(?:(?:o )?(?:âmbito|escopo|alcance|limite) d[aeo]s? )?(?:minhas?|meus?|nossas?|nossos?) (?:\w+ )?(?:alcance|capacidade|competência|função|funções|habilidade|atribuiç|escopo|limitaç|especialidade|possibilidade|área)\w*",
            r"\b(?:ultrapassa|excede|supera|além do|fora do|mais do)\b[^.!?\n]{0,4}\b(?:o )?que (?:eu |um |uma |este |esta )?(?:assistente |modelo |IA |programa |chatbot |sistema )?(?:posso|pode|consigo|consegue|poderia|sou capaz)\b",
            r"\bnão (?:sou|estou|tenho) (?:qualificad[oa]|habilitad[oa]|capacitad[oa]|autorizad[oa]|qualificação|em posição|em condições|a pessoa|competência|formação)\b[^.!?\n]{0,16}\b(?:aconselh|recomend|dizer|opin|julg|avali|diagnostic|dar|oferec|prever|orient)\w*|\bnão me (?:compete|cabe|corresponde) (?:dar|aconselh|recomend|opin|dizer|julg|avali|orient)\w*",
            r"\b(?:recuso-me a|me recuso a|recuso|abstenho-me de|me abstenho de|evito|não (?:vou|quero|pretendo|desejo|irei)|prefiro não|preferiria não|não me sinto confortável) ?(?:em |com )?(?:escrev|redig|produz|cri|ger|compor|elabor|particip|colabor|divulg|compartilh|revel|zomb|ridiculariz|contribu|fabric|promov|ofend|insult|trat|faz|public)\w*\b[^.!?\n]{0,30}\b(?:assim|d?ess[ea] tipo|d?est[ea] tipo|tais|tal|algo (?:que|como)|coisas (?:que|como|assim|feitas)|conteúdos?|pessoa|pessoas|ninguém|prejudic\w+|ofens\w+|sexua\w+|ilega\w+|ódio)\b|\bnão (?:escrevo|redijo|produzo|crio|gero|faço|elaboro) (?:ess|est|tais|tal|coisas|algo|conteúdo|textos)\w*[^.!?\n]{0,30}\b(?:assim|tipo|prejudic\w+|ofens\w+|feit\w+|sexua\w+|que)\b",
            r"\b(?:falta|faltou|faltando|ausente|ficou de fora|ficaram de fora|se perdeu|não (?:veio|chegou|apareceu)) (?:d|n)?(?:a|o)?(?:com )?\s?(?:sua |seu |tua )(?:mensagem|solicitação|pedido|pergunta|envio)\b",
            r"\b(?:só|somente|apenas|unicamente|exclusivamente) (?:trabalho |recebo |processo |lido |leio )?(?:com )?(?:palavras|texto|letras)\b(?= |[.,;]|$)(?<=\b(?:eu|trabalho|recebo|processo|lido|leio)\b[^.!?\n]{0,40})|\b(?:trabalho|lido|recebo|processo) (?:só|somente|apenas|unicamente|exclusivamente) (?:com )?(?:palavras|texto|letras)\b",
            r"\b(?:meus|minhas|meu|minha) (?:dados|conhecimentos?|informações|treinamento)\b[^.!?\n]{0,12}\bnão (?:inclu|abrang|cont|cobr|alcanç|est|v[ãa]o|engloba)\w*|\b(?:até|desde|conforme|na|em) (?:a )?minha (?:última|mais recente) atualização\b[^.!?\n]{0,50}\b(?:não|ignoro|desconheço)\b",
            r"\b(?:este|esta|nosso|nossa) (?:assistente|modelo|chatbot|sistema|IA|serviço|plataforma)\b[^.!?\n]{0,12}\b(?:não (?:pode|abre|lê|vê|oferece|dá|compartilha|gera|produz|acessa|está|permite|processa|consegue)|evita|recusa|se abstém)\b|\bnão (?:nos|me) (?:é|foi|está) (?:permitid[oa]|autorizad[oa])\b[^.!?\n]{0,30}\b(?:conteúdos?|produzir|gerar|criar|dar|oferecer|compartilhar|escrever)|\bnão (?:podemos|damos|oferecemos|geramos|produzimos|criamos|compartilhamos|fornecemos) (?:\w+ ){0,2}?(?:conteúdo|conselhos?|dicas|recomendações)\b",
            r"\b(?:por ser|sendo|não passo de|sou)(?: apenas| só| somente| simplesmente)? (?:um |uma )?(?:programa|software|máquina)\b(?=[^\w\s]|$| (?:e|de computador|que|sem|não))",
            r"\bnão (?:está|estão|figura|figuram|entra|faz parte|fazem parte|consta)\w* (?:entre|d?n?[oa]s?|em|d[aeo]s?) (?:as |os )?(?:minhas?|meus?|nossas?|nossos?) (?:\w+ )?(?:tarefas?|papel|funç\w+|serviços?|atribuiç\w+|obrigaç\w+|trabalho|repertório)\b|\bsou (?:cego|cega|surdo|surda) (?:para|a|às?) (?:as? |os? )?(?:imagens|fotos?|sons?|quadros|vídeos?)",
        ),
        speaker=(
            r"\b(?:não|nunca|jamais) (?:(?:me|te|lhe|o|a|os|as|se) )?(?:posso|consigo|tenho|disponho|possuo|dou|sou|sei|vou|irei|estou|conheço|lembro|sinto|vejo|conto com|como|comi|estive|fui|faço|aprecio|ajudo|colaboro|crio|escrevo|ofereço|recebi|\w+rei)\b(?! (?:de acordo|contra|certo de que))|\b(?:careço de|ignoro|desconheço|recuso-me|me recuso|prefiro não|preferiria não|abstenho-me|me abstenho|declino|passo a vez)\b",
            r"^\W*(?:pois |opa,? |ah,? |poxa,? )?(?:(?:eu )?(?:sinto muito|lamento|peço desculpas?)|desculpe|desculpa|desculpas|perdão|me perdoe|receio que)\b|^\W*(?:melhor|é melhor|mais vale|prefiro) não\b",
            r"\b(?:fora d[aeo]|além d[aeo]|foge ao|não está a[o]?) ?(?:meu |minha )?(?:alcance|poder|conhecimento|controle)\b|\bnão me (?:compete|cabe|corresponde)\b|\b(?:me escapam?|escapa-me|é-me desconhecid\w+|me é desconhecid\w+|não faço ideia)\b",
            r"\b(?:não (?:me )?chega(?:m|ram|va)?|não (?:me )?chegou|nenhum[a]? \w+ chegou)\b[^.!?\n]{0,6}\b(?:até mim|a mim|aqui)?",
            r"\bno meu caso,? não (?:há|houve|existe)\b|\bnão (?:damos|oferecemos|fornecemos|compartilhamos|ajudamos)\b",
            r"\bnão (?:é|são) (?:o )?(?:meu|minha) (?:papel|tarefa|função|trabalho|assunto|lugar)\b|\b(?:nada feito|nem pensar|impossível para mim)\b|\b(?:receio que|temo que|lamento)\b",
        ),
    ),
    "id": Grammar(
        first=r"\b(?:saya|aku)\b(?![^.!?\n]{0,14} (?:suka|pikir|rasa|percaya|setuju|sarankan|lebih suka|ingin))",
        negative=r"\b(?:tidak|belum|tak|bukan|mustahil)\b",
        assistant=(
            r"\b(?:di luar|melampaui|melebihi|bukan bagian dari|tidak termasuk(?: dalam)?) (?:batas |lingkup |cakupan |jangkauan )?(?:kemampuan|kapasitas|kewenangan|wewenang|keahlian|kompetensi|lingkup|fungsi|tugas|kapabilitas|bidang)\w*(?: \w+)? (?:saya|kami|ini|asisten)\b|\b(?:di luar|melampaui|melebihi) (?:apa )?(?:yang )?(?:bisa|dapat|mampu) (?:saya|kami|sebuah asisten|asisten|model|di\w+)",
            r"\b(?:melampaui|melebihi|di luar) (?:apa yang|hal yang|yang) (?:bisa|dapat|mampu|boleh) (?:saya |di)?\w+",
            r"\bsaya (?:tidak|bukan|kurang) (?:berkompeten|kompeten|berwenang|berhak|memenuhi syarat|berkualifikasi|dalam posisi|pihak yang|ahli)\b[^.!?\n]{0,20}\b(?:member|menilai|mengatakan|menyarankan|mendiagnosis|menasihati|merekomendasikan|memprediksi|menjawab|nasihat|saran)",
            r"\b(?:saya|kami|aku) (?:menolak|enggan|keberatan|tidak (?:akan|mau|bersedia|ingin|berkenan)|lebih (?:baik|suka|memilih) tidak|menghindari|memilih untuk tidak|tidak nyaman|tidak (?:membuat|menulis|menghasilkan))\b[^.!?\n]{0,34}\b(?:seperti (?:itu|ini)|semacam (?:itu|ini)|demikian|tersebut|konten|sejenis|orang (?:tertentu|lain)|merugikan|menyinggung|menghina|seksual|ilegal|berbahaya|kebencian|pribadi)\b",
            r"\b(?:tertinggal|hilang|terlewat|tidak ikut|terputus|belum ada|tidak terdapat)\b[^.!?\n]{0,10}\b(?:dari|dalam|di|pada) (?:pesan|permintaan|pertanyaan)(?: (?:anda|kamu|mu))?\b",
            r"\b(?:hanya|semata-mata|sebatas) (?:bekerja|menerima|memproses|mengolah|menangani|berurusan)\b[^.!?\n]{0,8}\b(?:kata|kata-kata|teks|huruf|tulisan)\b",
            r"\b(?:data|pengetahuan|informasi|pelatihan) (?:saya|kami)\b[^.!?\n]{0,8}\b(?:tidak|belum) (?:mencakup|memuat|meliputi|sampai|berisi|diperbarui|termasuk)|\b(?:per|hingga|sampai|berdasarkan|sejak) pembaruan terakhir (?:saya)?\b[^.!?\n]{0,50}\b(?:tidak|belum)\b",
            r"\b(?:model|asisten|chatbot|sistem|AI|layanan|platform) (?:ini|kami)\b[^.!?\n]{0,8}\b(?:tidak|belum|menghindari|menolak)\b|\bkami (?:tidak|belum) (?:diperkenankan|diizinkan|diperbolehkan|dapat|bisa|boleh)\b[^.!?\n]{0,24}\b(?:konten|saran|nasihat|informasi)|\bdi sini kami tidak\b",
            r"\bsaya (?:ini |hanya |cuma |sekadar |hanyalah )*(?:sebuah )?(?:program|perangkat lunak|mesin|kode)\b(?=[^\w\s]|$| (?:dan|yang|komputer|tanpa|jadi))|\bsebagai (?:sebuah )?(?:program|perangkat lunak|mesin)\b",
            r"\b(?:tidak|bukan) (?:termasuk|bagian dari|masuk)(?: (?:dalam|ke))? (?:\w+ )?(?:tugas|peran|fungsi|layanan|pekerjaan)(?: (?:saya|kami))\b|\bsaya (?:buta|tuli) (?:terhadap|akan|pada) (?:gambar|foto|suara|lukisan|video)",
        ),
        speaker=(
            r"\b(?:saya|aku|kami)(?: \w+)? (?:tidak|belum|tak|enggak|nggak|tidaklah|bukan)\b(?! (?:setuju|percaya|pikir|berpikir|yakin bahwa|hanya|keberatan|suka))|\b(?:saya|aku|kami) (?:menolak|enggan|terpaksa|memilih tidak|lebih baik tidak|lebih suka tidak|abstain)\b|\blebih baik saya tidak\b|\btidak (?:saya|kami|aku) \w+|\b(?:tanpa|karena (?:belum|tidak) pernah)\b[^.!?\n]{0,24}\b(?:saya|aku)\b",
            r"^\W*(?:wah,? |oh,? |hmm,? |aduh,? )?(?:(?:saya |kami )?(?:mohon |minta )?maaf|permisi|sayang sekali|dengan menyesal|saya menyesal)\b|^\W*(?:jangan|lebih baik (?:tidak|jangan)|sebaiknya (?:tidak|jangan))\b",
            r"\bdi luar (?:jangkauan|kuasa|pengetahuan|kemampuan) (?:saya|kami)\b|\bbukan (?:wewenang|urusan|tugas|hak) saya\b|\btidak (?:saya )?ketahui\b|\bentahlah\b",
            r"\b(?:belum|tidak|tak)(?: ada)?(?: \w+)?(?: yang)? (?:sampai|masuk|tiba|terkirim)(?: ke| kepada| di)?\b[^.!?\n]{0,10}\b(?:saya|sini|kami)?",
            r"\bbukan (?:peran|tugas|urusan|tempat|hak|pekerjaan) (?:saya|kami)\b|^\W*(?:tidak bisa|tidak mungkin|mustahil)\b[^.!?\n]{0,20}\bsaya\b|\bsaya (?:khawatir|takut|menyesal)\b",
        ),
    ),
    "vi": Grammar(
        first=r"\b(?:tôi|chúng tôi)\b(?![^.!?\n]{0,14} (?:thích|nghĩ|tin|đồng ý|khuyên|yêu|cho rằng|muốn))",
        negative=r"\b(?:không|chưa|chẳng|chả)\b",
        assistant=(
            r"\b(?:ngoài|nằm ngoài|vượt quá|vượt ngoài|vượt khỏi|quá|không thuộc|không nằm trong) (?:tầm |phạm vi |giới hạn )?(?:khả năng|năng lực|thẩm quyền|chuyên môn|chức năng|nhiệm vụ|phạm vi)\b[^.!?\n]{0,16}\b(?:tôi|mình|chúng tôi|trợ lý|mô hình)\b|\b(?:vượt quá|vượt ngoài|ngoài|nằm ngoài) (?:những )?(?:gì|điều|thứ)(?: mà)?(?: một)? (?:tôi|mình|chúng tôi|trợ lý|mô hình|AI|chatbot)\b",
            r"\b(?:tôi|mình) (?:không|chưa) (?:đủ|có|phải|được)[^.!?\n]{0,6}(?:thẩm quyền|tư cách|trình độ|chuyên môn|điều kiện|năng lực|chuyên gia|người)\b[^.!?\n]{0,20}\b(?:tư vấn|khuyên|đánh giá|nhận xét|chẩn đoán|nói|trả lời|dự đoán|đưa ra)",
            r"\b(?:tôi|mình|chúng tôi) (?:xin )?(?:từ chối|không (?:muốn|định|sẵn lòng|chịu|viết|làm|tạo|soạn)|sẽ không|xin (?:phép )?không|tránh|không thoải mái|thà không)\b[^.!?\n]{0,34}\b(?:như (?:vậy|thế)|kiểu (?:này|đó)|loại (?:này|đó)|thế này|nội dung|cụ thể|hại|xúc phạm|bôi nhọ|tình dục|khiêu dâm|thù ghét|bất hợp pháp|phi pháp|riêng tư)\b",
            r"\b(?:sót|thiếu|mất|bỏ quên|không thấy|không có|chưa có)\b[^.!?\n]{0,8}\b(?:trong|khỏi|ở) (?:tin nhắn|yêu cầu|câu hỏi|lời nhắn)(?: của bạn)?\b",
            r"\b(?:chỉ|chỉ có thể) (?:làm việc|nhận|xử lý|đọc|hiểu)\b[^.!?\n]{0,8}\b(?:chữ|từ ngữ|văn bản|con chữ|lời)\b",
            r"\b(?:dữ liệu|kiến thức|thông tin)(?: \w+)? của (?:tôi|mình)\b[^.!?\n]{0,6}\b(?:không|chưa) (?:bao gồm|có|gồm|chứa|cập nhật|bao quát|đề cập)|\b(?:tính đến|kể từ|theo|cho đến) lần cập nhật (?:cuối|gần nhất|mới nhất|sau cùng)\b[^.!?\n]{0,50}\b(?:không|chưa)\b",
            r"\b(?:mô hình|trợ lý|chatbot|hệ thống|AI) (?:này|của chúng tôi)\b[^.!?\n]{0,8}\b(?:không|chưa|tránh|từ chối)\b|\bchúng tôi (?:không|chưa) (?:được phép|thể|được)\b[^.!?\n]{0,24}\b(?:nội dung|lời khuyên|thông tin|tư vấn)|\bở đây chúng tôi không\b",
            r"\b(?:tôi|mình) (?:chỉ |vốn )?là (?:một |cái )?(?:chương trình|phần mềm|cỗ máy|máy tính)\b(?=[^\w\s]|$| (?:và|nên|không|máy tính))",
            r"\bkhông (?:nằm trong|thuộc|phải là)(?: \w+)? (?:nhiệm vụ|vai trò|chức năng|công việc|trách nhiệm|phận sự)(?: của)? (?:tôi|mình|chúng tôi)\b|\btôi (?:mù|điếc) (?:trước|với|đối với) (?:hình|ảnh|tranh|âm|video)",
        ),
        speaker=(
            r"\b(?:tôi|mình|em|chúng tôi)(?: \w+)? (?:không|chưa|chẳng|chả|đâu có|làm gì có)\b(?! (?:nghĩ|tin|đồng ý|cho rằng|chỉ|phản đối|thích))|\b(?:tôi|mình|chúng tôi) (?:xin )?(?:từ chối|đành chịu|xin phép không|xin không|sẽ phải bịa|xin kiếu)\b|\b(?:không có|chưa từng|chưa bao giờ|không)\b[^.!?\n]{0,30}\b(?:nên )?(?:tôi|mình) (?:không|chẳng|chưa|sẽ phải|đành)\b",
            r"^\W*(?:ôi,? |à,? |ồ,? )?(?:tôi |mình |chúng tôi |thành thật |thật |rất )*(?:xin lỗi|rất tiếc|lấy làm tiếc|đáng tiếc là tôi|thứ lỗi|tiếc là tôi)\b|^\W*(?:thôi nhé|thôi|tốt hơn là không|đừng nên)[,.! ]",
            r"\b(?:ngoài|quá) tầm (?:với|tay|hiểu biết|kiểm soát)? ?(?:của )?(?:tôi|mình)\b|\b(?:không phải việc của|không đến lượt) (?:tôi|mình)\b|\b(?:tôi|mình) (?:cũng )?(?:không|chẳng) (?:rõ|biết|hay)\b|\b(?:tôi|mình) chịu\b",
            r"\b(?:không|chưa|chẳng) (?:đến|tới)(?: được)?(?: với| tay| chỗ)? (?:tôi|mình|chúng tôi)\b|\bchưa thấy \w+ nào\b",
            r"\bkhông phải (?:là )?(?:vai trò|việc|nhiệm vụ|phận sự|chuyện)(?: của)? (?:tôi|mình)\b|^\W*chịu thôi\b|\btôi (?:e rằng|e là|đành)\b",
        ),
    ),
}
"""Languages in Latin letters; `declining_scripts` has the others."""
