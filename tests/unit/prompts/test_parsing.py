"""What LLMs write around a text comes off; what cannot be used has a reason."""

import pytest

from stepsynth.prompts.parsing import parse_list, parse_object, parse_text
from stepsynth.records import Rejected

LABELS = ["positive", "negative", "hyperbole", "not hyperbole", "配送"]


def read(text: str, **options):
    return parse_text(text, text_name="review", labels=LABELS, **options)


@pytest.mark.parametrize(
    ("completion", "text"),
    [
        ("A fine film.", "A fine film."),
        ('"A fine film."', "A fine film."),
        ("“A fine film.”", "A fine film."),
        ("'It's fine, isn't it'", "It's fine, isn't it"),
        ('"He said "no" twice."', 'He said "no" twice.'),
        ('"A fine film.', "A fine film."),
        ("Sure, here is a review:\n\nA fine film.", "A fine film."),
        ("Sure!\nA fine film.", "A fine film."),
        ("Certainly! Here is a positive review: A fine film.", "A fine film."),
        ("Here's another example:\nA fine film.", "A fine film."),
        ('Sure, here is one like it:\n"A fine film."', "A fine film."),
        ("Review: A fine film.", "A fine film."),
        ("**Review:** A fine film.", "A fine film."),
        ("```\nA fine film.\n```", "A fine film."),
        ("```text\nA fine film.\n```", "A fine film."),
        ("<think>Let me see.</think>A fine film.", "A fine film."),
        ("A fine film. (Positive)", "A fine film."),
        ("A fine film! [negative]", "A fine film!"),
        ("A fine film.\nLabel: positive", "A fine film."),
        ("A fine film.\n**Sentiment:** Positive", "A fine film."),
        ('"A fine film." (Positive)', "A fine film."),
        ("Bigger than the sun. (Very Hyperbolic)", "Bigger than the sun."),
        ("Bigger than the sun. (not hyperbole)", "Bigger than the sun."),
        ("Voici un avis :\n\nTrès bon film.", "Très bon film."),
        ("« Très bon film. »", "Très bon film."),
        ("当然，以下是一条评论：\n这部电影很好看。", "这部电影很好看。"),
        ("我的包裹还没有到。（配送）", "我的包裹还没有到。"),
        ("はい、こちらが例です：\n「とても良かった。」", "とても良かった。"),
        ("🔥🔥🔥", "🔥🔥🔥"),
        ("Positive movie review: I loved it.", "I loved it."),
        ("**Positive Review:**\n\nI loved it.", "I loved it."),
        ("(Positive) I loved it.", "I loved it."),
        ("Positive: I loved it.", "I loved it."),
        ("I loved it.\n\n**Positive**", "I loved it."),
        ("I loved it. - Positive", "I loved it."),
        ("I loved it. Sentiment: positive", "I loved it."),
        ("Label: positive\nText: I loved it.", "I loved it."),
        ("Here is a negative movie review: I hated it.", "I hated it."),
        ("Review (positive): I loved it.", "I loved it."),
        ("```Great film, loved it```", "Great film, loved it"),
        ("```text\nGreat film\n```\nLet me know!", "Great film"),
        ('{"review": "Nice film"}', "Nice film"),
        ("Here you go:\n\nNice film", "Nice film"),
        ("¡Claro! Aquí tienes un ejemplo:\n\nMuy buena.", "Muy buena."),
        ("Nice film\n\nI hope this helps!", "Nice film"),
        ("**Nice film**", "Nice film"),
        ('{"review": "Nice film", "label": "positive"}', "Nice film"),
        ('{"label": "positive", "text": "Nice film"}', "Nice film"),
        ('{"sentiment": "Positive", "quote": "Nice film"}', "Nice film"),
        ('{"output": {"review": "Nice film", "label": "positive"}}', "Nice film"),
        ('{"review": "Nice film",}', "Nice film"),
        ("{'review': 'Nice film'}", "Nice film"),
        ("{'label': 'positive', 'review': \"It's nice\"}", "It's nice"),
        ('{review: "Nice film"}', "Nice film"),
        ('[{"review": "Nice film"}]', "Nice film"),
        ('["Nice film"]', "Nice film"),
        ('```json\n{"review": "Nice film", "label": "positive"}\n```', "Nice film"),
        ('Sure, here it is:\n{"review": "Nice film", "label": "positive"}', "Nice film"),
        ("<review>Nice film</review>", "Nice film"),
        ("<think>plan</think><answer>Nice film</answer>", "Nice film"),
        ("# Review\n\nNice film", "Nice film"),
        ("**Positive Review**\nNice film", "Nice film"),
        ("Nice film\n\nThis review is positive because it praises the film.", "Nice film"),
        ("Nice film\n\nThe text has a clearly positive tone.", "Nice film"),
        ("Nice film\n\nExplanation: it praises.", "Nice film"),
        ("Nice film\n\n**Rationale:** it praises.", "Nice film"),
        ("Nice film\n\n(Note: this is positive, as you asked.)", "Nice film"),
        ("Nice film<|im_end|>\n<|im_start|>user\nAnother one", "Nice film"),
    ],
)
def test_what_nobody_asked_for_comes_off(completion, text):
    assert read(completion) == text


@pytest.mark.parametrize(
    "text",
    [
        "Here is the thing: I hated it.",
        "Great movie, highly recommended!\nThe plot moves.",
        "Okay, so my parcel is late:\nit was due on Monday.",
        "Sure, the acting is fine. I still left.",
        "'Alien' and 'Aliens'",
        '"Alien" and "Aliens"',
        "I cannot recommend this film.",
        "I'm sorry, but I cannot log in to my account.",
        "I am sorry to say that it bored me (and my wife).",
        "I can't believe how bad it was.",
        "He was a positive influence (on me).",
        "Best of the year. (1994)",
        "A false alarm. (false positive)",
        "这是我看过最好的电影：\n剧情好",
        "Here's the thing:\nI hated it.",
        "I can't complete my order, the checkout page freezes.",
        "I am unable to create an account, it says the e-mail is taken.",
        "I can't complete the security questions.",
        "I cannot answer this question, can you?",
        "Sorry, I cannot provide the order number because I lost the mail.",
        "Unfortunately I can't generate an invoice.",
        "I will not respond to any more of your dunning letters.",
        "Your AI language model bot keeps telling me nonsense.",
        "She plays the lead as an AI that falls in love.",
        "Désolé de vous déranger mais je ne peux plus me connecter.",
        "すみません、ログインできません",
        "申し訳ありませんが、注文をキャンセルできません",
        "很抱歉打扰，我无法完成付款",
        "作为一个AI迷，我很喜欢这部电影",
        "AIとしての主人公が良かった",
        "[laughs] Well, that was a film.",
        "{sarcasm} What a masterpiece.",
        "Note: my order number is 1234.\n\nNote: I have paid.",
        "The plot is thin.\nReason enough to leave.",
        "This film is positive proof that sequels can work.",
        "I cannot help it, I love this film.",
        "Sorry, maar ik kan niet inloggen.",
        "Niestety nie mogę się zalogować.",
        "Maaf, saya tidak dapat masuk ke akun saya.",
        "Xin lỗi, tôi không thể đăng nhập.",
        "<b>Best</b> film of the year",
        "He said <s>nothing</s> everything.",
    ],
)
def test_a_text_that_only_looks_like_it_is_left_alone(text):
    assert read(text) == text


@pytest.mark.parametrize(
    "completion",
    [
        "I'm sorry, but as an AI language model, I cannot generate this.",
        "I'm sorry, I cannot generate inappropriate or negative content.",
        "Sorry, I am not able to provide a movie review.",
        "I cannot write a review of that kind.",
        "Unfortunately, I cannot create such a text.",
        "I'm sorry, but I can't help with writing messages of that kind.",
        "\"i'm sorry, i cannot provide movie reviews as i am a text-based ai",
        "As an AI, I do not watch films.",
        "I apologize, but I cannot fulfill this request.",
        "I'm not able to write that.",
        "I must respectfully decline to write it.",
        "Sorry, I can't do that.",
        "I'm sorry, I cannot create a question about this passage.",
        "I cannot write a question whose answer is that.",
        "I'm sorry, but I can't generate a hypothesis for this premise.",
        "I appreciate your request, but I cannot write a negative review.",
        "I do not have personal experiences or watch movies, so here is nothing.",
        "对不起，我不能帮助您。",
        "Es tut mir leid, aber ich kann diese Anfrage nicht erfüllen.",
        "Lo siento, pero no puedo generar ese tipo de contenido.",
        "Mi dispiace, ma non posso scrivere questa recensione.",
        "Извините, но я не могу выполнить этот запрос.",
        "죄송하지만 그런 내용은 작성할 수 없습니다.",
        "Je suis désolé, mais je ne peux pas écrire cela.",
        "很抱歉，我无法生成这样的内容。",
        "作为一个人工智能，我没有看过电影。",
        "申し訳ありませんが、そのような文章は作成できません。",
        "I'm sorry, but I can't assist with that.",
        "I’m unable to assist with that request.",
        "I can't comply with that.",
        "Unable to assist with this.",
        "I apologize, but I cannot generate hate speech.",
        "I won't be able to write that review.",
        "That is not something I can help with.",
        "Het spijt me, maar ik kan dit verzoek niet uitvoeren.",
        "Przepraszam, ale nie mogę pomóc w tej sprawie.",
        "Üzgünüm, ancak bu konuda yardımcı olamıyorum.",
        "Maaf, saya tidak bisa menulis konten seperti itu.",
        "آسف، لا يمكنني كتابة هذا المحتوى.",
        "क्षमा करें, मैं इस अनुरोध में मदद नहीं कर सकता।",
        "Xin lỗi, tôi không thể hỗ trợ yêu cầu này.",
        "ขออภัย ฉันไม่สามารถช่วยเหลือในเรื่องนี้ได้",
        "Tyvärr kan jag inte hjälpa till med det.",
        "Beklager, men jeg kan ikke hjelpe med det.",
        "Omlouvám se, ale s tím vám nemohu pomoci.",
        "Вибачте, але я не можу виконати цей запит.",
        "Λυπάμαι, αλλά δεν μπορώ να βοηθήσω με αυτό το αίτημα.",
        "מצטער, אבל אני לא יכול לעזור בבקשה הזו.",
        "متأسفم، نمی‌توانم در این درخواست کمک کنم.",
        "Îmi pare rău, dar nu pot să vă ajut cu această cerere.",
        "Sajnálom, de ebben nem tudok segíteni.",
        "Valitettavasti en voi auttaa tässä pyynnössä.",
    ],
)
def test_a_refusal_is_rejected(completion):
    assert read(completion) == Rejected("refusal", completion)


@pytest.mark.parametrize("completion", ["", "   \n", '""', "...", "(Positive)", "```\n```"])
def test_an_empty_answer_is_rejected(completion):
    assert read(completion) == Rejected("empty", completion)


@pytest.mark.parametrize(
    ("completion", "reason"),
    [
        ("This review is positive because it praises the film.", "meta"),
        ("Explanation: the film is praised.", "meta"),
        ('{"label": "positive"}', "no_text"),
        ('{"label": "positive", "score": 1}', "no_text"),
        ('{"a": "One film.", "b": "Another film."}', "no_text"),
        ('["One film.", "Another film."]', "no_text"),
        ('{"review": "A fine fi', "no_text"),
        ('{"review": ""}', "empty"),
        ("a" * 100_001, "too_large"),
    ],
)
def test_what_is_not_the_text_is_rejected(completion, reason):
    assert read(completion) == Rejected(reason, completion)


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("Best film of the year. (1994)", ["0", "1"]),
        ("Ten of ten. (10 stars)", ["0", "1"]),
        ("Would I go again? (not really)", ["yes", "no"]),
        ("It came out late. (November 2020)", ["yes", "no"]),
        ("Please fix it. (billing error)", ["billing", "account"]),
        ("Please close it. (my account)", ["billing", "account"]),
    ],
)
def test_only_a_label_itself_is_a_tag(text, labels):
    assert parse_text(text, text_name="note", labels=labels) == text


def test_half_a_text_is_rejected():
    assert read("A fine film that", truncated=True) == Rejected("truncated", "A fine film that")


@pytest.mark.parametrize(
    ("completion", "items"),
    [
        ("1. one\n2. two", ("one", "two")),
        ("1) one\n2) two", ("one", "two")),
        ("- one\n- two", ("one", "two")),
        ("• one\n• two", ("one", "two")),
        ("* **One**: first\n* **Two**: second", ("One: first", "Two: second")),
        ("Sure, here are some:\n\n1. one\n\n2. two\n\nI hope this helps!", ("one", "two")),
        ("1. one\n   and more\n2. two", ("one and more", "two")),
        ('["one", "two"]', ("one", "two")),
        ('```json\n["one", "two"]\n```', ("one", "two")),
        ('{"reasons": ["one", "two"]}', ("one", "two")),
        ('[{"title": "One", "text": "first"}]', ("One: first",)),
        ("1. one 2. two 3. three", ("one", "two", "three")),
        ("one\ntwo", ("one", "two")),
        ('{"1": "acting", "2": "plot"}', ("acting", "plot")),
        ("3.5 stars in all\n1.5 hours long", ("3.5 stars in all", "1.5 hours long")),
        ("・演技\n・話", ("演技", "話")),
        ("一、演员\n二、剧情", ("演员", "剧情")),
        ("**1. Acting**\n**2. Plot**", ("Acting", "Plot")),
        ("1: one\n2: two", ("one", "two")),
        ("10:30 slot missed\n9:15 slot late", ("10:30 slot missed", "9:15 slot late")),
        ("one\ntwo\n\nI hope this helps!", ("one", "two")),
        ("1. one\n2. ONE!\n3. two", ("one", "two")),
        ("1、演员很好\n2、剧情感人", ("演员很好", "剧情感人")),
        ("①演技が良い\n②話が深い", ("演技が良い", "話が深い")),
        ("1. « L'histoire »\n2. Les acteurs", ("L'histoire", "Les acteurs")),
    ],
)
def test_a_list_of_rationales_is_read_in_every_form(completion, items):
    assert parse_list(completion) == items


def test_the_half_item_of_a_list_that_was_cut_off_is_left_out():
    assert parse_list("1. one\n2. two\n3. thr", truncated=True) == ("one", "two")
    cut = '{"rationales": ["one", "two", "thr'
    assert parse_list(cut, truncated=True) == ("one", "two")
    assert parse_list("1. on", truncated=True) == Rejected("truncated", "1. on")


def test_a_refused_list_is_rejected():
    refusal = "I'm sorry, but I cannot provide reasons of that kind."
    assert parse_list(refusal) == Rejected("refusal", refusal)


@pytest.mark.parametrize(
    "completion",
    [
        '{"question": "Who?", "answer": "Ada, 1843"}',
        '{"answer": "Ada, 1843", "question": "Who?", "why": ["x"], "sure": true}',
        '{"Question": " Who? ", "ANSWER": "\\"Ada, 1843\\""}',
        'Sure! Here it is:\n\n{"question": "Who?", "answer": "Ada, 1843"}\n\nAnything else?',
        '```json\n{"question": "Who?",\n "answer": "Ada, 1843"}\n```',
        '[{"question": "Who?", "answer": "Ada, 1843"}, {"question": "b", "answer": "c"}]',
        '<think>{"question": "no"}</think>{"question": "Who?", "answer": "Ada, 1843"}',
        '{\n  "question": "Who?",\n  "answer": "Ada, 1843",\n}',  # a comma too many
        "Question: Who?\nAnswer: Ada, 1843",
        "**Question:** Who?\n\n**Answer:** Ada, 1843",
        "**Question**: Who?\n**Answer**: “Ada, 1843”",
        "- question: Who?\n- answer: 'Ada, 1843'",
        "QUESTION： Who?\nANSWER： Ada, 1843",
    ],
)
def test_an_object_is_read_in_every_form(completion):
    found = parse_object(completion, ("question", "answer"))
    assert found == {"question": "Who?", "answer": "Ada, 1843"}


@pytest.mark.parametrize(
    ("completion", "answer"),
    [
        ('{"question": "Who?", "answer": 1843}', "1843"),
        ('{"question": "Who?", "answer": 1.50}', "1.50"),
        ('{"question": "Who?", "answer": "a \\"b\\" c"}', 'a "b" c'),
        ('{"question": "Who?", "answer": "a\nb"}', "a\nb"),
        ('{"question": "Who?", "answer": "caf\\u00e9"}', "café"),
        ('{"question": "Who?", "answer": "half \\ud83d"}', "half \ufffd"),
    ],
)
def test_values_of_an_object_are_text_as_it_was_written(completion, answer):
    assert parse_object(completion, ("question", "answer"))["answer"] == answer


@pytest.mark.parametrize(
    "completion",
    [
        "Question: Who?\nAnswer: Ada\n\nQuestion: When?",
        "Question: Who?\nAnswer: Ada\n\nQuestion: When?\nAnswer:",
        "Question: Who?\nAnswer: Ada\n\nQuestion: When?\nAnswer: 1843",
        "Question: Where?\n\nQuestion: Who?\nAnswer: Ada",
        "Answer: 1843\n\nQuestion: Who?\nAnswer: Ada",
    ],
)
def test_fields_of_two_objects_do_not_mix(completion):
    found = parse_object(completion, ("question", "answer"))
    assert found == {"question": "Who?", "answer": "Ada"}


def test_keys_are_found_whatever_their_case():
    assert parse_object('{"question": "Who?"}', ("Question",)) == {"Question": "Who?"}
    assert parse_object("question: Who?", ("Question",)) == {"Question": "Who?"}


@pytest.mark.parametrize(
    ("completion", "truncated", "reason"),
    [
        ("", False, "no_object"),
        ("Who?", False, "no_object"),
        ('{"question": "Who?"}', False, "no_object"),
        ('{"question": "Who?", "answer": ""}', False, "no_object"),
        ('{"question": "...", "answer": "..."}', False, "no_object"),
        ('{"question": "Who?", "answer": null}', False, "no_object"),
        ('{"question": "Who?", "answer": ["Ada"]}', False, "no_object"),
        ('{"question": "Who?", "answer": "Ad', False, "no_object"),
        ('{"question": "Who?", "answer": "Ad', True, "truncated"),
        ("Question: Who?\nAnswer: Ad", True, "truncated"),
        ("{" * 100_000, False, "no_object"),
        ("I'm sorry, but I can't help with that request.", False, "refusal"),
    ],
)
def test_what_is_no_whole_object_is_rejected(completion, truncated, reason):
    found = parse_object(completion, ("question", "answer"), truncated=truncated)
    assert found == Rejected(reason, completion)


def test_a_whole_object_counts_though_more_was_cut_off():
    completion = '{"question": "Who?", "answer": "Ada"}\n\nThis is a goo'
    found = parse_object(completion, ("question", "answer"), truncated=True)
    assert found == {"question": "Who?", "answer": "Ada"}


def test_control_characters_do_not_reach_a_row():
    assert read("It was \x1b[31mgreat\x07 fun,\x00 twice.") == "It was great fun, twice."
    assert read('{"text": "It was \\u0007great\\tfun."}') == "It was great\tfun."
    assert parse_object('{"a": "b\\u0000c"}', ("a",)) == {"a": "bc"}


def test_half_a_character_in_json_becomes_a_mark_that_can_be_stored():
    assert read('{"review": "nice \\ud83d film"}') == "nice \ufffd film"
    assert parse_list('["nice \\ud83d film", "b"]') == ("nice \ufffd film", "b")


MAIL = "I was charged twice."


@pytest.mark.parametrize(
    "completion",
    [
        f"Email: {MAIL}",
        f"**Email:**\n{MAIL}",
        f"<email>{MAIL}</email>",
        f"Here's an email about billing:\n\n{MAIL}",
        f"Here's the response:\n\n{MAIL}",
        f"Of course! Below is an e-mail that fits the label.\n\n{MAIL}",
        f"Assistant: {MAIL}",
        f"### Response:\n{MAIL}",
        f"{MAIL}\nUser: Write another one.\nAssistant: It is late.",
        f"{MAIL}\n\nHuman: thanks",
        f"{MAIL}\n\n### Instruction:\nWrite one e-mail.\n\n### Response:\nIt is late.",
        f"{MAIL}\n\n---\n\nThis e-mail is about billing.",
        f"{MAIL}\n\nWould you like me to write another one?",
    ],
)
def test_an_email_is_an_e_mail_and_other_turns_are_no_part_of_it(completion):
    assert parse_text(completion, text_name="e-mail", labels=("billing",)) == MAIL


@pytest.mark.parametrize(
    "dialogue",
    [
        "User: I was charged twice.\nAssistant: I am sorry.\nUser: Thanks.",
        "Assistant: Good morning.\nUser: I was charged twice.",
        "I asked your bot:\nUser: Was I charged twice?\nAssistant: No.",
        "Customer: I was charged twice.\nAgent: I am sorry.",
    ],
)
def test_a_dialogue_keeps_its_turns(dialogue):
    assert parse_text(dialogue, text_name="conversation", labels=("billing",)) == dialogue


@pytest.mark.parametrize(
    ("completion", "reason"),
    [
        ("N/A", "bare_label"),
        ("null", "bare_label"),
        ("The user wants me to write an e-mail about billing. I was charged twice.", "meta"),
        ("We need to write an e-mail. It is about billing.", "meta"),
        ("I'll craft a short e-mail with no text.", "meta"),
        ("This email is not about medical advice.", "meta"),
    ],
)
def test_talk_about_an_email_is_no_e_mail(completion, reason):
    found = parse_text(completion, text_name="e-mail", labels=("billing",))
    assert found == Rejected(reason, completion)


NATIVE = {
    "料理が冷めていた。": ("レビュー", ("良い", "良くない")),
    "菜都凉了。": ("评论", ("正面", "负面")),
    "الطعام بارد.": ("تعليق", ("إيجابي", "سلبي")),
    "Das Essen war kalt.": ("Bewertung", ("gut", "nicht gut")),
}


@pytest.mark.parametrize(
    "completion",
    [
        *("{ja}\n\n(Translation: The food was cold.)", "{ja} (The food was cold.)"),
        *("{ja}\n(Ryōri ga samete ita.)", "{ja}\n\nこのレビューは良くないという評価です。"),
        *(
            "{ja}\n\n文字数：9文字",
            "良くないレビュー：{ja}",
            "【レビュー】\n{ja}",
            "{ja}\n\n以上がレビューです。",
        ),
        "はい、こちらがレビューです。\n\n{ja}",
        *("负面评论：{zh}", "一条负面评论：“{zh}”", "{zh}情感：负面", "{zh}（共5字）"),
        *("{zh}\n\n（这是一条负面评论）", "{zh}\n\n这条评论是负面的。", "{zh}\n\n希望对你有帮助！"),
        *("{zh}\n\n翻译：The food was cold.", "当然可以，这里是一条评论：{zh}"),
        *("تعليق سلبي: {ar}", "{ar}\n\nهذا التعليق سلبي لأن الطعام بارد."),
        *(
            "Eine nicht gute Bewertung: {de}",
            "{de}\n\nDiese Bewertung ist nicht gut, weil es kalt war.",
        ),
        *("{de}\n\nIch hoffe, das hilft!", "{de}\n\nErklärung: Die Bewertung ist negativ."),
        "{de}\n\n(English translation: The food was cold.)",
    ],
)
def test_additions_in_other_languages_come_off(completion):
    texts = dict(zip(("ja", "zh", "ar", "de"), NATIVE, strict=True))
    (language,) = (name for name in texts if f"{{{name}}}" in completion)
    text_name, labels = NATIVE[texts[language]]
    said = completion.format(**texts)
    assert parse_text(said, text_name=text_name, labels=labels) == texts[language]


@pytest.mark.parametrize(
    ("text", "text_name", "labels"),
    [
        ("我买了鞋。\n这条消息显示配送失败。", "留言", ("配送", "付款")),
        ("配送が遅い。\nこの商品の配送は有料ですか。", "メッセージ", ("配送", "支払い")),
        ("Hallo,\nAnmerkung: das Paket fehlt.\nDiese Sendung ist wichtig.", "Nachricht", ("gut",)),
        ("店名（ABC）は良い。", "レビュー", ("良い", "良くない")),
        ("他说：“很正面。”", "评论", ("正面", "负面")),
    ],
)
def test_texts_in_other_languages_stay_whole(text, text_name, labels):
    assert parse_text(text, text_name=text_name, labels=labels) == text


@pytest.mark.parametrize("quotes", ['""', "“”"])
def test_a_number_before_a_quoted_text_comes_off(quotes):
    said = f"2. {quotes[0]}Sales of a new restaurant doubled.{quotes[1]}"
    assert parse_text(said) == "Sales of a new restaurant doubled."


@pytest.mark.parametrize("said", ["1. Mai ist frei.", '1. "Yes" and "no" are short words.'])
def test_a_number_that_may_be_of_the_text_stays(said):
    assert parse_text(said) == said


@pytest.mark.parametrize(
    "heading",
    [
        "World Politics Report:\n\n",
        "Sports and Business:\n\n",
        "**World Politics & Science & Technology**\n\n",
        "## Sports\n",
        "Sports, business and also world politics news report: ",
        "Science & Technology: ",
    ],
)
def test_a_heading_of_labels_is_stripped(heading):
    labels = ["world politics", "sports", "business", "science and technology"]
    text = "The council has met again."
    assert parse_text(heading + text, text_name="news report", labels=labels) == text


@pytest.mark.parametrize("text", ["Sports and music: both go on.", "**Sports** and no business."])
def test_words_that_are_no_heading_of_labels_stay(text):
    assert parse_text(text, text_name="news report", labels=["sports", "business"]) == text


SLEEPER = "A man is sleeping on a sofa.\nHis dog watches him."


@pytest.mark.parametrize(
    "completion",
    [
        f"{SLEEPER}\n\nSomebody sleeps.",
        f"{SLEEPER}\nHypothesis: Somebody sleeps.",
        f"Premise: {SLEEPER}\n\nHypothesis: Somebody sleeps.",
        f'**Context:** "{SLEEPER}"\n**Text:** "Somebody sleeps."',
        f"Sure, here is one:\n{SLEEPER}\n\nSomebody sleeps.",
    ],
)
def test_a_copy_of_a_source_before_a_text_is_no_part_of_it(completion):
    found = parse_text(completion, text_name="hypothesis", sources=["A child.", SLEEPER])
    assert found == "Somebody sleeps."


def test_what_begins_like_a_source_is_a_text_of_its_own():
    for text in (f"{SLEEPER} It barks.", "A child.\nIt sleeps.", f"I see: {SLEEPER} Well.\nSo."):
        assert parse_text(text, text_name="hypothesis", sources=["A child.", SLEEPER]) == text
    assert parse_text(SLEEPER, sources=[SLEEPER]) == Rejected("echo", SLEEPER)
