"""Detection of refusals by an LLM, as opposed to texts whose writer cannot do something.

"I can't complete my order" is a support message; "I can't complete this request" is a refusal. So a
pattern needs both the refused action (to write, to generate) and its object (this request, such
content, a review), or words that only an LLM says of itself.
"""

import re

_ABLE = (
    r"(?:can['’]?t|cannot|can not|am unable to|['’]m unable to|am not able to|['’]m not able to|"
    r"won['’]?t(?: be able to)?|will not(?: be able to)?|could not|am not comfortable|"
    r"['’]m not comfortable|must (?:respectfully )?decline to)"
)
_WRITE = (
    r"(?:generat(?:e|ing)|writ(?:e|ing)|creat(?:e|ing)|provid(?:e|ing)|produc(?:e|ing)|"
    r"fulfil+(?:ing)?|assist(?: you)?(?: with| in)?|comply with|complete|perform|respond to|"
    r"help(?: you)? with(?: (?:writing|creating|generating))?|continue with|engage in|do)"
)
_ASKED = (
    r"(?:(?:this|that|your|the) (?:request|prompt|task|instruction|query)|"
    r"(?:[\w'’-]+ ){0,5}?(?:content|texts?|reviews?|stor(?:y|ies)|messages?|examples?|responses?|"
    r"outputs?|reasons?|lists?|sentences?|materials?|sentiments?|posts?|tweets?|speech|propaganda|"
    r"jokes?|headlines?|articles?|essays?|poems?)\b)"
)
_SORRY = (
    r"(?:(?:(?:i['’]?m|i am) (?:very |so |really )?sorry|sorry|apologies|i apologi[sz]e|unfortunately|"
    r"i appreciate your request|i understand(?: your request)?)[\W]*(?:but )?)"
)

_HELP = (
    r"(?:assist(?: you)?(?: (?:with|in) (?:this|that|it|your request))?|"
    r"comply(?: with (?:this|that|it|your request))?|help(?: you)? with (?:this|that))\W*(?:\Z|[.!;,\n])"
)

# Language -> regret, inability, and words of a request to write. All three at the beginning make a
# refusal, the last two in either order.
_LANGUAGES = {
    "ar": (
        r"عذر|آسف|أعتذر|للأسف|نأسف",
        r"لا (?:أستطيع|يمكنني|أقدر|نستطيع)|لن أتمكن|غير قادر",
        r"المساعدة|مساعدتك|الطلب|طلبك|كتابة|محتوى|توليد",
    ),
    "cs, sk": (
        r"omlouvám se|je mi l[íú]to|je mi ľúto|bohužel|ospravedlňujem|žiaľ",
        r"nemohu|nemůžu|nemôžem|nejsem schop|nie som schop",
        r"žádost|žiadosť|pomoci|pomôcť|obsah|napsat|splnit|vyhově",
    ),
    "da, no": (
        r"beklager|desværre|dessverre|undskyld|unnskyld",
        r"kan (?:jeg )?(?:desværre |dessverre )?ikke|ikke i stand til",
        r"anmodning|forespørsel|hj[eæ]lpe|inn?d?hold|skrive|generere|opfylde|oppfylle",
    ),
    "el": (
        r"λυπάμαι|συγγνώμη|δυστυχώς",
        r"δεν (?:μπορώ|είμαι σε θέση)",
        r"αίτημα|βοηθήσω|περιεχόμενο|γράψω|δημιουργήσω",
    ),
    "fa": (
        r"مت[أا]سفم|متاسفانه|ببخشید|پوزش|معذرت",
        r"نمی[\u200c ]?توانم|قادر نیستم|نمی[\u200c ]?تونم",
        r"کمک|درخواست|محتوا|بنویسم|تولید",
    ),
    "fi": (
        r"valitettavasti|pahoittelen|pahoillani|anteeksi",
        r"en (?:voi|pysty|kykene)",
        r"pyyntö|pyynnö|auttaa|sisältö|kirjoittaa|tuottaa",
    ),
    "he": (
        r"מצטער|סליחה|לצערי|מתנצל",
        r"לא (?:יכול|אוכל|מסוגל)|אין באפשרותי",
        r"בקשה|לעזור|לסייע|תוכן|לכתוב",
    ),
    "hi": (
        r"क्षमा|माफ़|माफ|खेद|दुर्भाग्य",
        r"नहीं (?:\w+ )?सक|असमर्थ|अक्षम",
        r"अनुरोध|मदद|सहायता|सामग्री|लिख",
    ),
    "hu": (
        r"sajnálom|elnézést|sajnos|bocsánat",
        r"nem (?:tudok|tudom|áll módomban|segíthetek|teljesíthet)",
        r"kérés|segít|tartalm|írni|teljesíteni|szöveg",
    ),
    "id, ms": (
        r"maaf|sayangnya",
        r"tidak (?:dapat|bisa|boleh|mampu)|tak (?:dapat|boleh)",
        r"permintaan|membantu|menulis|konten|kandungan|menghasilkan|memenuhi",
    ),
    "nl": (
        r"het spijt m[ei]|sorry|helaas|excuses",
        r"kan (?:\w+ ){0,4}?(?:niet|geen)|niet in staat",
        r"verzoek|helpen|assisteren|inhoud|genereren|schrijven|voldoen|uitvoeren",
    ),
    "pl": (
        r"przykro mi|przepraszam|niestety",
        r"nie (?:mogę|jestem w stanie|potrafię|będę móg)",
        r"prośb|pomóc|treści|wygenerow|napisać|spełnić",
    ),
    "ro": (
        r"îmi pare rău|ne pare rău|din păcate|scuze",
        r"nu (?:te |vă |o |îți )?(?:pot|sunt în măsură)",
        r"cerer|solicit|ajut|conținut|scrie|genera",
    ),
    "sv": (
        r"tyvärr|ledsen|förlåt|ursäkta",
        r"kan (?:jag )?(?:tyvärr )?inte|inte i stånd",
        r"begäran|förfrågan|hjälpa|innehåll|skriva|generera|uppfylla",
    ),
    "th": (
        r"ขอโทษ|ขออภัย|เสียใจ",
        r"ไม่สามารถ|ไม่อาจ",
        r"คำขอ|ช่วยเหลือ|ช่วยคุณ|เนื้อหา|เขียน",
    ),
    "tr": (
        r"üzgünüm|maalesef|özür dilerim|kusura bakma",
        r"\w(?:amam|emem|amıyorum|emiyorum|amayacağım|emeyeceğim)\b|mümkün değil",
        r"iste[kğ]|tale[pb]|içeri[kğ]|yardımcı|metin|metni",
    ),
    "uk": (
        r"вибач|перепрошую|на жаль|пробач",
        r"не (?:можу|в змозі|зможу)",
        r"запит|допомогти|контент|написати|текст",
    ),
    "vi": (
        r"xin lỗi|rất tiếc|tiếc là",
        r"không thể|không có khả năng",
        r"yêu cầu|giúp|hỗ trợ|nội dung|viết",
    ),
}

_PATTERNS = [
    re.compile(pattern, re.I)
    for pattern in (
        # What only an LLM says of itself.
        r"\bas an? (?:helpful )?(?:ai|artificial intelligence|(?:large )?language model)(?:[ -](?:language )?model|"
        r" assistant)?,? (?:i|it|my)\b",
        r"\bi(?: am|['’]m) (?:just |only )?an? (?:text-based |helpful )?(?:ai|(?:large )?language model)\b",
        r"\bAI language models? (?:are|is|am|cannot|can['’]t)\b",
        r"\bopenai'?s? (?:use case|content|usage) polic|\bagainst my programming\b",
        r"\bi (?:do not|don['’]t) have personal (?:experiences?|opinions?|feelings?|emotions?)\b",
        # Refusing what was asked for, at the start.
        rf"\A\W*{_SORRY}?(?:but )?(?:as [^.,]{{0,40}}, )?i ?{_ABLE} {_WRITE} {_ASKED}",
        rf"\A\W*{_SORRY}?(?:but )?i ?{_ABLE} (?:generate|write|create|formulate|come up with) "
        r"(?:[\w'’-]+ ){0,5}?(?:questions?|hypothes[ei]s|premises?|passages?|paragraphs?)\b",
        rf"\A\W*{_SORRY}(?:but )?i ?{_ABLE} (?:do|write|create|generate|help with) (?:this|that|it)\b",
        rf"\A\W*{_SORRY}?i ?{_ABLE} (?:write|create|generate) (?:this|that|it)\W*\Z",
        rf"\A\W*{_SORRY}?i (?:must|have to) (?:respectfully )?decline\b",
        rf"\A\W*{_SORRY}?(?:but )?i ?{_ABLE} {_HELP}",
        rf"\A\W*{_SORRY}?(?:but )?unable to {_HELP}",
        r"\A\W*(?:this|that|your) (?:request|prompt) (?:violates|goes against|is against)\b",
        r"\A.{0,60}\bnot something (?:that )?i(?: can|['’]m able to| am able to) (?:help|assist|write|do)\b",
        # French, German, Spanish, Italian, Portuguese, Russian.
        r"\ben tant qu(?:e modèle de langage|['’](?:ia|intelligence artificielle))\b",
        r"\A\W*(?:je suis |malheureusement|désolée?).{0,50}\bje ne (?:peux|suis).{0,40}(?:écrire|générer|"
        r"rédiger|créer|produire|fournir|répondre|satisfaire|aider).{0,40}(?:demande|texte|contenu|avis|"
        r"critique|message|cela|ce (?:genre|type))",
        r"\bals (?:ki|sprachmodell|ki-(?:sprach)?modell|künstliche intelligenz)\b",
        r"\A\W*(?:es )?(?:tut mir leid|leider|entschuldigung).{0,60}\bich.{0,60}(?:anfrage|inhalte?|texte?"
        r"|bewertung|rezension|nachricht|damit|dabei).{0,40}(?:nicht|erfüllen|schreiben|erstellen|"
        r"generieren|helfen|verfassen)",
        r"\bcomo (?:modelo de (?:lenguaje|linguagem)|una? (?:ia|inteligencia artificial)|uma ia)\b",
        r"\A\W*(?:lo siento|lamento|desculpe|sinto muito|desafortunadamente|infelizmente).{0,40}\bn(?:o|ão)"
        r" (?:puedo|posso) .{0,60}(?:solicitud|petición|contenido|texto|reseña|mensaje|eso|esto|pedido|"
        r"solicitação|conteúdo|resenha|mensagem|isso)",
        r"\bcome (?:modello linguistico|intelligenza artificiale)\b",
        r"\A\W*(?:mi dispiace|spiacente|purtroppo).{0,40}\bnon posso .{0,60}(?:richiesta|contenut|testo|"
        r"recensione|messaggio|questo|ciò)",
        r"\bкак (?:ии|языковая модель|искусственный интеллект)\b",
        r"\A\W*(?:извините|простите|к сожалению|сожалею).{0,60}не могу.{0,40}(?:запрос|текст|контент|отзыв|"
        r"сообщение|этим)",
        # Chinese, Japanese, Korean.
        r"(?:作为|作為)(?:一个|一個|一名)?(?:人工智能|人工智慧|AI|(?:大型)?(?:语言|語言)模型)"
        r"(?:助手|助理|语言模型|語言模型|模型)?[，,]?我",
        r"\A\W*(?:很|非常)?(?:抱歉|对不起|對不起|遗憾).{0,14}(?:无法|不能|無法)(?:为您|为你)?(?:生成|提供|撰写|撰寫|"
        r"编写|创建|满足|协助|帮助|完成)(?:您|你|这|這|此|该|該|那|相关|任何|.{0,8}(?:请求|請求|要求|内容|內容|文本|评论))",
        r"(?:AI|言語モデル|人工知能)(?:アシスタント|言語モデル|モデル)?(?:として[、，]|ですので|なので[、，]?私)",
        r"\A\W*(?:申し訳(?:ありません|ございません)|すみません|恐れ入ります).{0,40}(?:文章|内容|リクエスト|ご要望|ご依頼|"
        r"コンテンツ|生成|お手伝い).{0,30}(?:できません|できかねます|いたしかねます)",
        r"\A\W*(?:申し訳|すみません|恐れ入り|残念(?:です|ながら)|ごめんなさい).{0,40}(?:そのような|このような|"
        r"ご依頼|(?:文章|メッセージ|テキスト|レビュー|文)[はを](?:書|お書き|作成|生成)).{0,30}(?:でき|出来|応え|いたしかね)"
        r".{0,4}(?:ません|ない|ねます)|\A\W*(?:申し訳|すみません|恐れ入り).{0,20}(?:お答え|お手伝い|ご対応)"
        r"(?:できません|できかねます|することはできません)",
        r"\A\W*죄송(?:합니다|하지만).{0,60}(?:요청|내용|텍스트|글|리뷰|콘텐츠|메시지).{0,30}(?:수 없습니다|어렵습니다)",
        *(
            rf"\A\W*.{{0,12}}?(?:{sorry}).{{0,60}}?(?:(?:{unable}).{{0,80}}?(?:{asked})"
            rf"|(?:{asked}).{{0,80}}?(?:{unable}))"
            for sorry, unable, asked in _LANGUAGES.values()
        ),
    )
]


def is_refusal(text: str) -> bool:
    """Say whether an LLM refused, by the first 600 characters of what it wrote."""
    return any(pattern.search(text[:600]) for pattern in _PATTERNS)
