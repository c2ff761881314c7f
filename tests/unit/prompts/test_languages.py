"""Answers in German, Arabic, Chinese and Japanese: what stands around a text, and what is none."""

import pytest

from stepsynth.prompts import is_written_in, parse_choice, parse_list, parse_text, sample_letters
from stepsynth.records import Rejected

TASKS = {
    "ja": ("お茶の店へのメッセージ", ("注文", "苦情", "質問")),
    "ar": ("رسالة إلى متجر شاي", ("طلب", "شكوى", "سؤال")),
    "zh": ("留言", ("订单", "投诉")),
    "de": ("Nachricht", ("Bestellung", "Beschwerde")),
}
JA, AR, ZH, DE = (
    "緑茶を三箱お願いします。",
    "أريد علبتين من الشاي.",
    "我想订两盒绿茶。",
    "Ich möchte Tee.",
)


def read(language, answer):
    text_name, labels = TASKS[language]
    found = parse_text(answer, text_name=text_name, labels=labels)
    return f"- {found.reason}" if isinstance(found, Rejected) else found


@pytest.mark.parametrize(
    ("language", "answer", "text"),
    [
        ("ja", f"はい、こちらがメッセージです：\n\n「{JA}」", JA),
        ("ja", f"かしこまりました。\n{JA}", JA),
        ("ja", f"メッセージ：{JA}", JA),
        ("ja", f"{JA}（注文）", JA),
        ("ja", f"\u200f{JA}", JA),
        ("ar", f'بالتأكيد! إليك رسالة:\n\n"{AR}"', AR),
        ("ar", f"بالطبع، إليك الرسالة المطلوبة:\n{AR}", AR),
        ("ar", f"إليك مثال على رسالة شكوى:\n«{AR}»", AR),
        ("ar", f"الرسالة: {AR}", AR),
        ("ar", f'\u200f"{AR}"\u200f', AR),
        ("ar", f'"\u200f{AR}\u200f"', AR),
        ("ar", f"\u202b{AR}\u202c", AR),
        ("ar", f"{AR} (طلب)", AR),
        ("zh", f"当然！以下是一条留言：\n\n“{ZH}”", ZH),
        ("zh", f"留言：{ZH}", ZH),
        ("de", f"Natürlich! Hier ist eine Nachricht:\n\n„{DE}“", DE),
        ("de", f"Nachricht: {DE}", DE),
        ("de", f"»{DE}«", DE),
    ],
)
def test_what_stands_around_a_text_is_taken_off(language, answer, text):
    assert read(language, answer) == text


@pytest.mark.parametrize(
    ("language", "answer", "reason"),
    [
        ("ja", "苦情", "bare_label"),
        ("ja", "申し訳ありませんが、そのようなメッセージを書くことはできません。", "refusal"),
        ("ja", "申し訳ございませんが、お答えできません。", "refusal"),
        ("ja", "もちろんです！どのようなメッセージを作成しましょうか？", "meta"),
        ("ja", "このメッセージは注文です。", "meta"),
        ("ja", "これは苦情のメッセージです。", "meta"),
        # What a small LLM said when it was asked for a customer's message.
        (
            "ja",
            "申し訳ありませんが、その内容の内容が理解されていません。より詳細な情報を提供してください。",
            "meta",
        ),
        ("ja", "申し訳ありませんが、ご質問の内容には、具体的な注文が含まれていません。", "meta"),
        ("ja", "「苦情を申し上げます」というご質問やご提案を受けることが不便です。", "meta"),
        ("ja", "tea shop：質問！何かお手伝いできますか？", "meta"),
        ("ja", "「 tea マーケットの質問」", "meta"),
        ("ja", "お茶の店へのメッセージの内容は、苦情を苦むためのお茶です。", "meta"),
        ("ja", "申し訳ありませんが、具体的な店舗の情報を提供していただけますか？", "meta"),
        ("ar", "مساعدتك في تقديم صناعات متنوعة لجميع الأنشطة.", "meta"),
        ("zh", "抱歉，您没有提供具体的投诉内容。", "meta"),
        ("ar", "عذراً، يرجى تقديم المزيد من التفاصيل حول الرسالة.", "meta"),
        ("ja", "美味しいです。美味しいです。美味しいです。", "repetition"),
        ("ja", "１．緑茶をください。\n２．紅茶をください。", "options"),
        ("ja", "①緑茶をください。\n②紅茶をください。", "options"),
        ("ja", "緑茶を三箱、", "broken_off"),
        ("ar", "عذراً، لا أستطيع كتابة هذه الرسالة.", "refusal"),
        ("ar", "أنا هنا لمساعدتك. ما الذي تحتاجه؟", "meta"),
        ("ar", "بكل سرور! ما نوع الرسالة التي تريدها؟", "meta"),
        ("ar", "هذه الرسالة هي طلب.", "meta"),
        ("ar", "هذه رسالة شكوى.", "meta"),
        ("ar", "١- أريد شاياً.\n٢- أريد قهوة.", "options"),
        ("ar", "شاي جيد؟ شاي جيد؟ شاي جيد؟", "repetition"),
        ("ar", "أريد علبتين من الشاي،", "broken_off"),
        ("zh", "这条留言是投诉。", "meta"),
        ("zh", "我很乐意帮助您！请告诉我具体内容。", "meta"),
        ("zh", "1、我想订茶。\n2、我想订咖啡。", "options"),
        ("zh", "（1）我想订茶。\n（2）我想订咖啡。", "options"),
        ("zh", "很好喝。很好喝。很好喝。", "repetition"),
        ("de", "Diese Nachricht ist eine Beschwerde.", "meta"),
        ("de", "Gerne helfe ich Ihnen dabei! Welche Nachricht brauchen Sie?", "meta"),
    ],
)
def test_what_is_no_text_is_none(language, answer, reason):
    assert read(language, answer) == f"- {reason}"


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("ja", "申し訳ありませんが、注文を変更できませんか。"),
        ("ja", "すみません、アカウントを作成できません。"),
        ("ja", "すみません、電話がつながりません。対応してください。"),
        ("ja", "申し訳ありませんが、詳しい使い方をお教えください。"),
        ("zh", "抱歉，我想取消昨天的订单。"),
        ("ar", "عذراً، أريد إلغاء طلبي."),
        ("ja", "はい、届きました。発送日を教えてください。"),
        ("ja", "質問です。玉露は何度で入れますか。"),
        ("ja", "これは苦情ではありませんが、箱が小さいです。"),
        ("ar", "هذه الشكوى أرسلتها مرتين ولم يرد أحد."),
        ("ar", "بالتأكيد سأطلب منكم مرة أخرى."),
        ("ar", "أريد ٣ علب، وكيسين من السكر."),
        ("zh", "请告诉我发货时间。"),
        ("zh", "这是我第三次投诉，还没有人回复。"),
        ("de", "Das ist die dritte Beschwerde in dieser Woche, und niemand antwortet."),
        ("de", "Könnt ihr mir damit helfen?"),
        ("ja", "引っ越しのお手伝いいたします、と言われたのに誰も来ませんでした。"),
        ("ja", "はい、来週の火曜日にお手伝いに伺います。"),
        ("ja", "お茶の店へのメッセージが届きません。"),
        ("ar", "مساعدتك لي كانت رائعة، شكرا"),
        ("zh", "我可以为您推荐这家茶店，性价比很高。"),
        ("zh", "抱歉，但您提供的绿茶实在太难喝了。"),
    ],
)
def test_what_a_writer_may_well_say_is_kept(language, text):
    assert read(language, text) == text


@pytest.mark.parametrize(
    ("text_name", "labels", "text"),
    [
        ("Bewertung", ("gut", "schlecht"), "Das Essen ist schlecht."),
        ("Bewertung", ("gut", "schlecht"), "Dieses Hotel ist wirklich sehr gut."),
        ("تعليق", ("جيد", "سيء"), "هذا المنتج سيء"),
        ("评论", ("好", "差"), "这家酒店是我住过最差的。"),
        ("评论", ("体育", "财经"), "这是我最喜欢的体育节目"),
        ("レビュー", ("良い", "悪い"), "とても良いです。"),
        ("レビュー", ("良い", "悪い"), "レビューが高評価だったので買いました。"),
        ("商品のレビュー", ("肯定的", "否定的"), "商品のレビューは参考になりませんでした。"),
        ("ツイート", ("スポーツ", "音楽"), "趣味はスポーツです。"),
    ],
)
def test_a_text_that_says_a_word_of_a_label_of_something_else_is_kept(text_name, labels, text):
    assert parse_text(text, text_name=text_name, labels=labels) == text


@pytest.mark.parametrize(
    ("text_name", "labels", "text"),
    [
        ("Bewertung", ("gut", "schlecht"), "Diese Bewertung ist schlecht."),
        ("Bewertung", ("positiv", "negativ"), "Das ist eindeutig negativ."),
        ("تعليق", ("إيجابي", "سلبي"), "هذا سلبي"),
        ("评论", ("好", "差"), "这是一条差的评论。"),
        ("评论", ("正面", "负面"), "这是负面的。"),
        ("レビュー", ("良い", "悪い"), "このレビューは悪いです。"),
        ("レビュー", ("肯定的", "否定的"), "これは否定的です。"),
    ],
)
def test_a_text_that_only_states_its_own_label_is_none(text_name, labels, text):
    found = parse_text(text, text_name=text_name, labels=labels)
    assert isinstance(found, Rejected)
    assert found.reason == "meta"


@pytest.mark.parametrize(
    "answer",
    [
        "١- {0}\n٢- {1}", "١. {0}\n٢. {1}", "\u200f١. {0}\n\u200f٢. {1}", "١) {0}\n٢) {1}",
        "（1）{0}\n（2）{1}", "１）{0}\n２）{1}", "㈠{0}\n㈡{1}", "■{0}\n■{1}", "１．{0} ２．{1}",
        "إليك سببين:\n\n١. {0}\n٢. {1}", "はい、以下に挙げます。\n1. {0}\n2. {1}", "1- {0}\n2- {1}",
    ],
)  # fmt: skip
@pytest.mark.parametrize("items", [("سبب أول", "سبب ثان"), ("理由一", "別の理由")])
def test_lists_are_read_whatever_their_numbers(answer, items):
    assert parse_list(answer.format(*items)) == items


@pytest.mark.parametrize("text", ["○○さんへの手紙", "3-5分", "2024-05-01に届いた", "★★☆ 普通"])
def test_what_looks_like_a_number_or_a_bullet_stays(text):
    assert parse_list(f"{text}\n別の例") == (text, "別の例")


@pytest.mark.parametrize(
    ("language", "answer", "label"),
    [
        ("ja", "ラベル: 苦情です。", "苦情"),
        ("ja", "このメッセージは苦情です", "苦情"),
        ("ja", "苦情ではなく注文です。", "注文"),
        ("ja", "苦情ではありません。", None),
        ("ja", "苦情か質問です。", None),
        ("ja", '｛"label"：「苦情」｝', "苦情"),
        ("ja", "（1）苦情", "苦情"),
        ("ar", '{"label": "الشكوى"}', "شكوى"),
        ("ar", '{"label": "شكوي"}', "شكوى"),
        ("ar", '{"label": "\u200fشَكوى\u200f"}', "شكوى"),
        ("ar", "شكوى وليس طلب", "شكوى"),
        ("ar", "طلباً", "طلب"),
        ("ar", "ليست شكوى", None),
        ("zh", "这是投诉", "投诉"),
        ("zh", "不是投诉", None),
        ("de", "Keine Beschwerde", None),
        ("de", "Das ist nicht eindeutig eine Beschwerde.", None),
        ("de", "Keine klare Beschwerde, sondern eine Bestellung.", "Bestellung"),
        ("de", "Keine Beschwerde sondern eine Bestellung", "Bestellung"),
        ("zh", "不太像投诉", None),
        ("zh", "不算是投诉，是订单。", "订单"),
        ("zh", "不是投诉而是订单", "订单"),
        ("zh", "非常明显是投诉", "投诉"),
        ("ja", "苦情とは言えません。", None),
        ("ja", "苦情な内容ではありません。", None),
        ("ja", "苦情であり、急ぎです。", "苦情"),
        ("ar", "هذه ليست في الحقيقة شكوى", None),
    ],
)
def test_a_label_is_found_in_words_of_its_language(language, answer, label):
    found = parse_choice(answer, {name: name for name in TASKS[language][1]})
    assert (None if isinstance(found, Rejected) else found) == label


def test_a_label_that_is_a_part_of_another_word_is_not_named():
    found = parse_choice("不满意", {"满意": "满意", "不满意": "不满意"})
    assert found == "不满意"
    assert isinstance(parse_choice("是否合适", {"1": "是", "0": "好"}), Rejected)


@pytest.mark.parametrize(
    ("language", "text", "is_right"),
    [
        ("Japanese", JA, True),
        ("日本語", "iPhone 15 Pro Max が壊れた", True),
        ("Japanese", "新茶二袋", True),
        ("Japanese", "我想订购三盒绿茶，请尽快送到。", False),
        ("Japanese", "ryokucha o sanbako onegai shimasu", False),
        ("Japanese", "I would like three boxes of tea.", False),
        ("simplified Chinese", ZH, True),
        ("中文", JA, False),
        ("Egyptian Arabic", AR, True),
        ("العربية", "urid eulbatayn min alshay", False),
        ("Arabic", "I want two boxes of شاي, please send them soon", False),
        ("Korean", "녹차 두 상자 주세요", True),
        ("German", DE, True),
        ("Deutsch", "I want this tea and the cup that you sell.", False),
        ("German", "Der Song „The Sound of Silence“ ist das Beste an dem Film.", True),
        ("French", "Ce thé est froid.", True),
        ("German or English", "I want this tea and the cup that you sell.", True),
        ("Klingon", JA, True),
        ("Japanese", "Amazon Fire TV Stick 4K Maxを購入、最高！", True),
        (
            "Japanese",
            "https://www.example.com/articles/2024/05/the-long-title この記事すごい",
            True,
        ),
        ("Japanese", "@tea_shop #GreenTea #Sencha 届いた！", True),
        ("Japanese", "Great Tea From Kyoto", False),
        ("中文", "我用 Visual Studio Code 写 Python", True),
        ("Russian", "Bosch Tassimo Vivy Black топ", True),
        ("Korean", "ㅋㅋㅋㅋㅋ", True),
        ("German", "„The Good, the Bad and the Ugly“ ist ein Meisterwerk.", True),
        ("German", "Beauty and the Beast ist toll.", True),
        ("German", "Apple and Google Fight Over the Future", False),
        ("Roman Urdu", "yeh film bohat achi thi yaar", True),
        ("Hindi in Latin letters", "yeh film bahut achhi thi yaar", True),
        ("Romanian", "I want this tea and the cup that you sell.", False),
        ("", JA, True),
        ("Japanese", "！？", True),
    ],
)
def test_a_text_is_in_the_language_that_was_asked_for(language, text, is_right):
    assert is_written_in(text, language) == is_right


@pytest.mark.parametrize("language", ["Japanese", "Chinese", "Korean", "Arabic", "Hebrew",
                                      "Russian", "Greek", "Hindi", "Thai"])  # fmt: skip
def test_sample_letters_are_of_the_language(language):
    assert is_written_in(sample_letters(language), language)
    assert sample_letters("German") == sample_letters("") == ""


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("Japanese", f"{JA}\n\nIn Japanese, this means three boxes."),
        ("Arabic", "In Arabic, the word تعليق is a comment."),
        ("German", 'German: "Es ist zu laut."\n\nIn German, "laut" is a kind of cheese.'),
        ("Chinese", f"{ZH} (translated into Chinese)"),
    ],
)
def test_a_text_that_tells_of_its_language_in_english_is_none(language, text):
    assert not is_written_in(text, language)


def test_a_text_may_name_its_language():
    assert is_written_in("Ich lerne Deutsch in Köln.", "German")
    assert is_written_in("He spoke in German.", "")
    assert is_written_in("He spoke in English.", "English")
