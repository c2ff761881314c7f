"""Texts, and what small LLMs really wrote in place of them."""

import pytest

from stepsynth.prompts.parsing import parse_list, parse_reasons, parse_text
from stepsynth.prompts.talk import talk_of
from stepsynth.records import Example, Rejected
from stepsynth.tasks.classification import Classification
from stepsynth.tasks.sentence_pair import SentencePair

REVIEWS = Classification(
    instruction="Decide whether a sentence from a movie review is positive or negative.",
    text_name="movie review sentence",
    labels={"negative": "negative", "positive": "positive"},
)
NEWS = Classification(
    instruction="Decide which section of a newspaper a short news item belongs to.",
    text_name="short news item",
    labels={"World": "world news", "Sports": "sports", "Business": "business"},
)
PAIRS = SentencePair(
    instruction="Decide whether a hypothesis follows from a premise.",
    text_name="hypothesis",
    labels={"entailment": "entailment", "not_entailment": "not entailment"},
)
MESSAGES = Classification(
    instruction="Decide which team should answer a customer's message.",
    text_name="support message",
    labels={"billing": "billing", "delivery": "delivery", "returns": "returns and warranty"},
)
PREMISE = "The ferry to Lund sank in a storm in 1931; nobody was hurt."

# Offers of help, as Qwen2.5-Coder-0.5B wrote them when asked for a customer's message in Chinese,
# and the same in other languages.
OFFERS = (
    *("您好，我是一个AI助手，请问有什么我可以帮您的吗？", "您好！请问有什么我可以帮助您的吗？"),
    *("我如何能帮助您？", "有什麼我可以幫您的嗎？", "何かお手伝いできることはありますか？"),
    *("안녕하세요! 무엇을 도와드릴까요?", "Hallo! Wie kann ich Ihnen heute helfen?"),
    *("Bonjour, comment puis-je vous aider ?", "¡Hola! ¿En qué puedo ayudarte hoy?"),
    *("Olá! Como posso ajudar?", "Ciao! Come posso aiutarti?", "Здравствуйте! Чем могу помочь?"),
    *("مرحبا! كيف يمكنني مساعدتك اليوم؟", "Ich bin ein Sprachmodell.", "Je suis une IA."),
    *("Hallo! Waarmee kan ik je helpen?", "Merhaba! Size nasıl yardımcı olabilirim?"),
)
CUSTOMERS = (
    *(
        "我被扣了两次款，请帮我查一下。",
        "你们的AI客服没有帮我。",
        "你可以帮我吗？",
        "箱が壊れていました。助けてください。",
    ),
    *(
        "Können Sie mir helfen? Das Paket fehlt.",
        "Pouvez-vous m'aider ? Je suis client.",
        "환불해 주세요.",
    ),
    *("¿Me puede ayudar? Soy una clienta.", "Помогите, посылка не пришла.", "هل يمكنك مساعدتي؟"),
    *("Wie kann ich die Rechnung ändern?", "Como posso pagar?", "Come posso pagare?"),
)


@pytest.mark.parametrize("text", OFFERS)
def test_an_offer_of_help_is_no_text_in_any_language(text):
    found = MESSAGES.parse_example(text, Example("", "billing"), truncated=False)
    assert isinstance(found, Rejected)
    assert found.reason == "meta"


@pytest.mark.parametrize("text", CUSTOMERS)
def test_somebody_who_asks_for_help_is_a_text(text):
    found = MESSAGES.parse_example(text, Example("", "billing"), truncated=False)
    assert not isinstance(found, Rejected), found


# What SmolLM2-135M and Qwen2.5-Coder-0.5B answered when asked for one text.
BAD = [
    (REVIEWS, "meta", "The movie review is not positive."),
    (REVIEWS, "echo", "The movie is not negative."),
    (REVIEWS, "meta", 'This movie review is "negative"'),
    (REVIEWS, "meta", 'The movie review "The Lion\'s Whiskered Party" is positive.'),
    (REVIEWS, "meta", "You've already provided a movie review sentence that is negative."),
    (REVIEWS, "echo", "The movie review with no label."),
    (REVIEWS, "meta", "I'm ready to help."),
    (REVIEWS, "bare_label", "False."),
    (REVIEWS, "bare_label", "Negative"),
    (REVIEWS, "meta", "No title, no quotes, no label, no comment."),
    (REVIEWS, "meta", "The sentence is entirely positive, and I can offer a similar explanation."),
    (REVIEWS, "meta", "This movie review is negative and lacks a clear description of the movie."),
    (REVIEWS, "meta", "That's an excellent suggestion! I'll make sure to expand on it."),
    (REVIEWS, "meta", "A movie review with a positive label that doesn't say so."),
    (NEWS, "bare_label", "Sports."),
    (NEWS, "bare_label", "The world news."),
    (NEWS, "echo", "Decide which section of a newspaper a short news item belongs to."),
    (NEWS, "meta", 'The short news item does not belong to the "world news" section.'),
    (NEWS, "bare_label", "The right label: world news"),
    (NEWS, "options", "1. No more details\n2. No more details available\n3. Late goal wins it"),
    (NEWS, "broken_off", "In a market that has seen better days, the"),
    (NEWS, "repetition", "It fell. The market fell. The market fell. The market fell."),
    (PAIRS, "meta", "I'd be happy to help you with that."),
    (PAIRS, "meta", "This premise is a fallacy."),
    (PAIRS, "meta", 'The right label of the two is "not entailment" - no quotation.'),
    (PAIRS, "meta", "The hypothesis is that nobody was hurt."),
    (PAIRS, "bare_label", "No, no."),
    (PAIRS, "bare_label", "False, incorrect."),
]

GOOD = [
    (REVIEWS, "The plot is dull, and the jokes fall flat."),
    (REVIEWS, 'The movie "Blast Off" delivers more than its fair share of saucy hilarity.'),
    (REVIEWS, "It's a positive delight, from the first scene to the last."),
    (REVIEWS, "I'm sorry I saw it."),
    (REVIEWS, "I regret the two hours that I spent on this."),
    (REVIEWS, "not a good piece of work, boring, never successful"),
    (REVIEWS, "No plot, no jokes, no mercy."),
    (REVIEWS, "You're in for a treat!"),
    (NEWS, "Sony Music signs a deal with the record label behind three of last year's hits."),
    (NEWS, "Business is back to normal at the port of Lund after a week of strikes."),
    (NEWS, "Here's to the champions: Lund win the cup after extra time"),
    (NEWS, "Shares fell 3 percent :("),
    (MESSAGES, "Could you please send me a new label for a different carrier?"),
    (MESSAGES, "My request for a refund was denied, and nobody tells me why."),
    (MESSAGES, "I've written to you three times and got no answer."),
    (MESSAGES, "It seems like you charged me twice."),
    (MESSAGES, "Please provide me with a copy of my last invoice."),
    (MESSAGES, "I'm unable to submit my request, the page is blank."),
    (MESSAGES, "As requested, here is the number of my order: 4711."),
    (MESSAGES, "You've already given me the wrong lid once."),
    (MESSAGES, "Here's a list of the parts that were missing."),
    (MESSAGES, "The parcel came with no label and no invoice."),
    (PAIRS, "Nobody was hurt when the ferry sank."),
    (PAIRS, "The ferry sank on its way from Lund."),
]


@pytest.mark.parametrize(("task", "reason", "said"), BAD)
def test_talk_about_a_text_is_no_text(task, reason, said):
    like = Example("", task.label_names[0], PREMISE if task is PAIRS else None)
    found = task.parse_example(said, like, truncated=False)
    assert isinstance(found, Rejected)
    assert found.reason == reason


@pytest.mark.parametrize(("task", "said"), GOOD)
def test_a_text_is_kept_as_it_is(task, said):
    like = Example("", task.label_names[0], PREMISE if task is PAIRS else None)
    found = task.parse_example(said, like, truncated=False)
    assert isinstance(found, Example), found
    assert found.text == said


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (["lost", "not working"], "My card is lost."),
        (["lost", "not working"], "The card is not working"),
        (["great", "terrible"], "The movie is terrible."),
        (["cancel an order", "track an order"], "Can you cancel my order?"),
        (["sad", "glad"], 'She said that she was "sad".'),
    ],
)
def test_a_text_may_use_the_word_of_its_label(labels, said):
    task = Classification(
        instruction="Decide what a customer's request is about: an order, a card, a movie.",
        text_name="request",
        labels=labels,
    )
    found = task.parse_example(said, Example("", task.label_names[0]), truncated=False)
    assert isinstance(found, Example), found


def test_a_template_of_the_users_own_is_not_rendered_to_read_an_answer():
    own = {"seed": "Write a {{ text_name }} about {{ rationales[2] }}."}
    task = Classification(labels=["a", "b"], prompts=own)
    assert task.seed_prompt(Example("", "a"), ("x", "y", "z")) == "Write a text about z."
    assert isinstance(task.parse_example("It rains.", Example("", "a"), truncated=False), Example)


def test_a_word_of_the_context_is_no_talk():
    like = Example("", "entailment", "The premise of the play is a hypothesis of Euler.")
    found = PAIRS.parse_example("The play has a premise.", like, truncated=False)
    assert isinstance(found, Example)


def test_a_task_without_names_knows_the_talk_of_every_task():
    assert isinstance(parse_text("I'd be happy to help you with that."), Rejected)
    assert parse_text("He got a text from her.") == "He got a text from her."


REASONS = """Here are some reasons:
1. The acting is wooden.
2. positive
3. 1.
4. A) 1. The jokes are old.
5. The acting is wooden
6. I'm ready to help with more reasons.
7. The end comes out of"""


def test_reasons_are_whole_distinct_and_no_numbers_or_labels():
    found = parse_reasons(
        REASONS, text_name="review", labels=["negative", "positive"], asked="", truncated=True
    )
    assert found == ("The acting is wooden.", "The jokes are old.")


def test_a_list_of_talk_holds_no_reasons():
    found = REVIEWS.parse_rationales(
        "This movie review sentence is positive, and it makes a list.", truncated=False
    )
    assert isinstance(found, Rejected)


def test_nested_numbers_come_off_every_list():
    assert parse_list("1. A) red\n2. b. green") == ("red", "green")


def test_a_label_that_is_a_word_may_end_a_text():
    talk = talk_of("note", ("a", "b"))
    assert talk.find("this note has the grade a") is None
    assert talk.find("the market fell with a") is None
    assert talk_of("note", ("c",)).find("the market fell with a") == "broken_off"


@pytest.mark.parametrize(
    ("text_name", "text"),
    [
        ("comment on a news article", "This news article is biased and far too long."),
        ("reply to a hotel review", "Thank you. Your review mentions the noise; we are sorry."),
        ("post on Reddit", "I asked the same on Reddit last week, and nobody knew."),
        ("message of a customer to a shop", "I went to a shop in town and it was closed."),
        ("question about an item", "Is this item dishwasher safe? The item arrived today."),
    ],
)
def test_what_a_text_is_about_is_no_name_of_it(text_name, text):
    assert parse_text(text, text_name=text_name, labels=("good", "bad")) == text


def test_the_source_again_and_the_length_that_was_asked_for_are_no_texts():
    source = "The handle snapped off after five months."
    said = {"sources": [source], "asked": "write one message of 8 to 30 words"}
    assert parse_text(f'"{source.upper()}"', **said).reason == "echo"
    assert parse_text("I bought the 8 to 30 kettle in May.", **said).reason == "meta"
    assert parse_text("The lid snapped off after five weeks.", **said).startswith("The lid")
    assert parse_text('A review of that kind is: "It broke."', text_name="review") == "It broke."


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("Deutsch", "Er soll 5 bis 20 Wörter lang sein: der Router blinkt rot."),
        ("Deutsch", "Liebes Team, hier ist die E-Mail („gut“), danke."),
        ("日本語", "長さは5～20文字です。届いたお茶がとても美味しい。"),
        ("العربية", "وصلت الرسالة («gut») أمس وكانت جميلة"),
        ("العربية", "طوله 5 إلى 20 كلمة عن الخدمة في المتجر"),
        ("中文", "长度为5到20字。茶叶很好喝，下次再来。"),
    ],
)
def test_a_part_of_the_request_is_no_text_in_any_language_of_prompts(language, text):
    task = Classification(
        labels=["gut", "schlecht"], text_name="E-Mail", language=language, length=(5, 20)
    )
    like = Example("Ganz anders.", "gut")
    assert task.parse_example(text, like, truncated=False).reason == "meta"


def test_a_length_that_the_source_has_too_is_no_part_of_the_request():
    task = Classification(labels=["gut", "schlecht"], language="日本語", length=(5, 20))
    like = Example("名前は5～20文字で入力してください。", "gut")
    text = "パスワードは5～20文字で入力してくださいとのことです。"
    assert task.parse_example(text, like, truncated=False).text == text


def test_reasons_that_say_the_same_or_speak_of_the_list_are_dropped():
    listed = (
        "1. The soup was cold when it came.\n2. The soup was cold when it came out.\n"
        "3. Here are 20 reasons that are easy to mention.\n4. I have listed three points.\n"
        f"5. Nobody answered the bell. {'And then we waited and waited. ' * 8}"
    )
    found = parse_reasons(listed, text_name="review", labels=("bad",), asked="")
    assert found == ("The soup was cold when it came.", "Nobody answered the bell.")


@pytest.mark.parametrize(
    "text",
    [
        "Could you please give me the tracking number so I can follow it?",
        "The following items are missing from my order:\nlid, cord, jug",
        "The message on the display reads:\nE3, call service",
        "As a machine it does its work, but the jug leaks.",
        "As a virtual assistant I work from home and need a quiet kettle.",
        'Three people asked me "How can I help you" and none of them could.',
        "To make this soup you should heat the jug first.",
        "I wrote to you. I changed the text on the gift card, it is wrong.",
        "That is not true.",
        "This is a lie.",
        "The quiz says that the correct answer is marked wrong.",
        "Is this a kettle or a toaster?",
        "This e-mail contains a photo of the broken handle.",
    ],
)
def test_what_people_write_is_kept_as_it_is(text):
    asked = "is this a complaint or a question message that is a complaint"
    for name in ("support message", "e-mail", "tweet", "text"):
        said = parse_text(text, text_name=name, labels=("complaint", "question"), asked=asked)
        assert said == text


def test_reasons_that_people_have_are_kept():
    reasons = (
        "There are many holes in the plot",
        "The home team scored 20 points in a quarter",
        "I have given up on waiting",
        "These are the worst noodles in town",
    )
    listed = "\n".join(f"{i}. {reason}" for i, reason in enumerate(reasons, 1))
    assert parse_reasons(listed, text_name="review", labels=("bad",), asked="") == reasons
