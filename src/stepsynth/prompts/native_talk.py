"""Patterns of talk, as `talk` detects it, in languages other than English."""

OFFERS = "|".join(
    (
        r"(?:什么|什麼)我?(?:可以|能)(?:为|為)?(?:您|你)?(?:帮|幫|协|協)助?(?:您|你|的)",
        r"(?:怎么|怎麼|如何)(?:可以|能|才能)?(?:帮|幫|协|協)助?(?:您|你)",
        r"我是(?:一[个個名位])?(?:AI|人工智[能慧]|智能) ?(?:助手|助理|(?:语言|語言)?模型)",
        r"お手伝いできること(?:は|が)(?:あり|ござい)ます|(?:何|どう|どのよう|喜んで).{0,8}"
        r"お手伝い(?:できますか|いたします|させていただ|(?:でき|いたし|し)ましょう)",
        r"(?:という|その)ご(?:質問|提案|要望|依頼)|\A\W*(?:申し訳|すみません)[^\n]{0,80}(?:ご(?:質問|要望|依頼)|"
        r"(?:その|この)(?:内容|質問|指示)[^。\n]{0,12}理解|(?:詳細|詳しい|具体的)[^。\n]{0,12}提供)",
        r"\A\W*(?:很|非常)?(?:抱歉|对不起|對不起)[^\n]{0,60}(?:您(?:(?:没有|沒有|未)提供|提供的(?:内容|內容|信息|資訊|文本|句子)|"
        r"的(?:问题|問題|请求|請求))|请提供|請提供)",
        r"\A\W*(?:عذر|آسف|أعتذر)[^\n]{0,80}(?:(?:يرجى|الرجاء|من فضلك) (?:تقديم|توضيح|تزويد)|سؤالك|طلبك غير)",
        r"私は.{0,6}AI(?:アシスタント|モデル|です)",
        r"(?:무엇을|어떻게|뭘) 도와 ?드릴까요|저는 .{0,8}(?:AI|인공지능)",
        r"\b(?:wie|womit) kann ich (?:ihnen|dir|euch) (?:heute )?(?:weiter)?helfen\b",
        r"\bich bin (?:eine? )?(?:ki|künstliche intelligenz|(?:ki-)?sprachmodell)\b",
        r"\b(?:comment|en quoi) (?:puis-je|je peux) (?:vous |t['’])aider\b",
        r"\bje suis une? (?:ia|intelligence artificielle|modèle de langage)\b",
        r"\b(?:cómo|en qué) (?:te |le |les )?puedo ayudar",
        r"\bsoy una? (?:ia|inteligencia artificial|modelo de lenguaje)\b",
        r"\b(?:como|em que) posso (?:te |lhe |o |a )?aju(?:dar|dá-l[oa])",
        r"\bsou uma? (?:ia|inteligência artificial|modelo de linguagem)\b",
        r"\bcome posso (?:aiutar(?:ti|la|vi)|esser(?:ti|le|vi) (?:utile|d['’]aiuto))",
        r"\bsono un['’ ] ?(?:ia|intelligenza artificiale|modello linguistico)\b",
        r"\bчем (?:я )?(?:могу|можем) (?:вам |тебе )?помочь\b",
        r"\bя ?[—–-]? ?(?:ии|искусственный интеллект|языковая модель)\b",
        r"كيف (?:يمكنني|أستطيع|بإمكاني) (?:أن )?(?:مساعدتك|أساعدك|خدمتك)",
        r"أنا (?:نموذج لغ|ذكاء اصطناعي|مساعد ذكاء|مساعد ذكي)",
        r"أنا هنا ل(?:مساعدتك|خدمتك)|يسعدني (?:أن )?(?:مساعدتك|أساعدك)|\A\W*مساعدتك (?:في|على) |\A\W*(?:بكل سرور|بالتأكيد|بالطبع)\W{1,3}"
        r"(?:ما|أي|هل يمكنك)\b",
        r"\A\W*(?:もちろん|はい|承知|かしこまり)[^\n]{0,50}(?:何|どう|どのよう)[^\n]{0,30}ましょうか|"
        r"\A\W*(?:もちろん|承知|かしこまり)[^\n]{0,50}お手伝い|"
        r"\A\W*(?:もちろん|承知|かしこまり)[^\n]{0,60}(?:教えて|お知らせ)ください",
        r"我(?:很乐意|很高兴|很樂意|很高興)(?:为|為|能|帮|幫|协|協)助?(?:您|你|帮|幫|协|協|为|為)",
        r"我可以(?:为|為|帮|幫|协|協)助?(?:您|你)(?:写|寫|撰|生成|创作|創作|做(?:些|点)?什么)",
        r"\b(?:dabei|damit|gerne?) (?:helfe|unterstütze) ich (?:ihnen|dir|euch)\b|"
        r"\bich (?:helfe|unterstütze) (?:ihnen|dir|euch) (?:gerne?|dabei)\b",
        r"\b(?:waarmee|hoe) kan ik (?:je|jou|u) (?:vandaag )?(?:verder)?helpen\b",
        r"\bnasıl yardımcı olabilirim\b",
    )
)
"""An offer of help, or who it is that speaks."""

GENRES = (
    r"\w{0,20}(?:text|satz|nachricht|bewertung|rezension|kritik|kommentar|artikel|beitrag|tweet|beispiel)|"
    "نص|رسالة|تغريدة|تعليق|مراجعة|جملة|مقال|مثال|"
    "文本|评论|評論|留言|消息|信息|句子|文章|新闻|新聞|微博|テキスト|メッセージ|レビュー|ツイート|コメント|投稿|記事|文"
)
"""Names of texts in German, Arabic, Chinese and Japanese."""
ABOUT = (
    r"(?:diese?[rs]? (?:\w{{1,25}} )?{names} (?:ist|enthält|drückt|zeigt)\b[^.!?\n]{{0,80}}?{label}"
    r"|هذ[ها] (?:ال)?{names}[^.!؟\n]{{0,20}}?{label}"
    r"|[这這该該][^。\n]{{0,6}}?(?:{names}[^。\n]{{0,6}}?(?:是|属于|屬於|表达|表達|体现|體現)[^。\n]{{0,12}}?{label}"
    r"|是[^。\n]{{0,6}}?{label}[^。\n]{{0,3}}?{names})"
    r"|この[^。\n]{{0,10}}?{names}[はが][^。\n]{{0,12}}?{label}[^。\n]{{0,12}}?(?:です|である|評価))"
)
"""Beginning of a paragraph that explains a text, with {{names}} of texts and {{label}}."""
EXPLAINS = (
    "erklärung|begründung|übersetzung|wortzahl|翻译|翻譯|翻訳|解释|解釋|解説|文字数|字数|字數|"
    "ترجمة|الترجمة|شرح|تفسير|الشرح"
)
"""Headings of such a paragraph."""
CLOSINGS = (
    r"ich hoffe,? (?:das|dies|es) hilft|lassen sie mich wissen,? (?:wenn|falls|ob) sie\b|"
    r"希望[^。！\n]{0,10}[对對](?:你|您)有所?[帮幫]助|以上が[^。\n]{0,20}です|آمل أن يكون (?:هذا|ذلك)"
)
"""What an assistant ends with, on a line of its own."""
_THAT_IS = r"(?:です|である|になります|に当たります|に該当します)"
STATES = (
    rf"\W{{{{0,6}}}}(?:(?:diese?[rs]?|das) (?:(?:\w{{{{1,25}}}} )?{{names}} ist (?:\w{{{{1,12}}}} ){{{{0,2}}}}{{label}}"
    rf"|(?:\w{{{{1,25}}}} )?ist (?:\w{{{{1,12}}}} ){{{{0,2}}}}{{verdict}})"
    rf"|(?:هذه?|هذا|إنها?) (?:(?:ال)?{{names}} (?:(?:هي|هو|عبارة عن) )?(?:ال)?{{label}}"
    rf"|(?:\w{{{{1,15}}}} )?(?:(?:هي|هو|عبارة عن) )?(?:ال)?{{verdict}})"
    rf"|[这這该該][^。\n]{{{{0,6}}}}?(?:{{names}}(?:是|属于|屬於)[^。\n]{{{{0,6}}}}?{{label}}[^。\n]{{{{0,4}}}}"
    rf"|(?:是|属于|屬於)[^。\n]{{{{0,3}}}}?{{label}}的?{{names}}"
    rf"|[^。\n]{{{{0,6}}}}?(?:是|属于|屬於)[^。\n]{{{{0,6}}}}?{{verdict}}[^。\n]{{{{0,4}}}})"
    rf"|この[^。\n]{{{{0,10}}}}?{{names}}[はが][^。\n]{{{{0,6}}}}?{{label}}(?:の[^。\n]{{{{1,10}}}})?{_THAT_IS}"
    rf"|(?:(?:これ|それ)[はが])?[^。\n]{{{{0,6}}}}?{{label}}[のな]{{names}}{_THAT_IS}"
    rf"|(?:(?:これ|それ|この[^。\n]{{{{1,20}}}}?)[はが])?[^。\n]{{{{0,6}}}}?{{verdict}}(?:の[^。\n]{{{{1,10}}}})?{_THAT_IS}"
    rf"|[^。！？\n]{{{{0,16}}}}の{{label}})\W{{{{0,6}}}}\Z"
)
"""A whole text that only states its label, with {names} of texts, {label} and {verdict}.

As in English, it names itself or its label is a verdict: "Das Essen ist schlecht" may well be a
text.
"""
