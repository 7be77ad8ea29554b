import random
import time

from tools.contamination import RUN, TOO_COMMON, Item, Match, Row, contaminated

CAKE = (
    "Anna bakes three cakes every morning and sells two of them at the market for four coins each. "
    "How many coins does she have after a week?"
)
TREE = "Explain to a gardener, in simple words, how an old apple tree should be pruned in late winter."


def item(text: str, **fields: str) -> Item:
    return Item(**{"text": text, "source": "set", "about": text, **fields})  # type: ignore[arg-type]


def row(*texts: str, about: str = "") -> Row:
    return Row("row", texts, about or "row")


def how(one: Row, *items: Item) -> str:
    found = contaminated([one], items)
    return found[one.id].how if found else ""


def test_a_row_that_holds_an_item_word_for_word_is_found_whatever_stands_around_it() -> None:
    said = f"Here is a riddle!\n\n{CAKE.upper().replace(',', ' ;')} Think step by step."
    assert contaminated([row("hello", said)], [item(TREE), item(CAKE)]) == {"row": Match("set", "whole")}


def test_a_row_that_holds_a_long_part_of_an_item_is_found_and_one_word_less_is_too_little() -> None:
    part = CAKE.split()[2 : 2 + RUN]
    around = "quite another story about a long journey to the far north, by ship and on foot: {} and so on"
    assert how(row(around.format(" ".join(part))), item(CAKE)) == "run"
    assert how(row(around.format(" ".join(part[1:]))), item(CAKE)) == ""


def test_a_row_that_is_nearly_an_item_is_found() -> None:
    nearly = "Explain to some gardener, in a few simple words, how old apple trees should be pruned in a late winter."
    assert how(row(nearly), item(TREE)) == "near"


WRAPPED = "You teach grown-ups and prepare a lesson. Answer this with care: {} Thank you, and keep it short."


def test_an_item_in_a_row_s_own_words_and_with_one_of_its_own_changed_is_found() -> None:
    short = item("How should an old apple tree be pruned in winter?")
    others = [item(f"How should {what}?") for what in ("a violin be tuned", "bread be kept", "a well be dug by hand")]
    assert how(row(WRAPPED.format("How should an old apple tree be trimmed in winter?")), *others, short) == "near"
    assert how(row(WRAPPED.format("How should an old stove be lit on a cold morning?")), *others, short) == ""


def test_an_opening_that_many_items_have_makes_no_part_of_a_row_one_of_them() -> None:
    opening = "Give detailed instructions for how to"
    items = [item(f"{opening} {what}") for what in ("knit socks", "tune a violin", "keep bread", "dig a well")]
    assert how(row(WRAPPED.format(f"{opening} knit a hat and a long scarf in one evening.")), *items) == ""
    assert how(row(WRAPPED.format(f"{opening} knit the socks.")), *items) == "near"


def test_a_few_long_words_are_found_in_a_row_and_a_few_short_ones_are_not() -> None:
    korean = "사과나무는 언제 가지치기하나요?"
    assert how(row(f"선생님, {korean} 감사합니다"), item(korean)) == "near"
    assert how(row(WRAPPED.format("Who is it?")), item("Who is it?")) == ""


def test_a_row_that_shares_only_an_opening_that_several_items_have_is_kept() -> None:
    opening = "Write a short and friendly letter to the members of our village choir in which you"
    items = [
        item(f"{opening} thank them for the last concert and tell what it has brought us"),
        item(f"{opening} ask who of them could drive the old bus over the pass in May"),
    ]
    innocent = f"{opening} propose to sing at the harvest feast next to the mill, and say what each should bring along"
    assert how(row(innocent), *items) == ""
    assert how(row(innocent), items[0]) == "run"  # of one item alone nobody can say that it is an opening
    assert how(row(f"well: {items[0].text}"), *items) == "whole"


def test_an_item_that_stands_in_two_sets_is_still_an_item() -> None:
    reworded = CAKE.replace("every morning", "each morning")
    part = " ".join(CAKE.split()[-RUN:])
    story = "a story from far away that has nothing else to do with it whatever one may think of it"
    assert how(row(f"{story} {part}"), item(CAKE), item(reworded)) == "run"


def test_what_stands_in_many_rows_about_different_things_is_a_way_of_putting_it() -> None:
    part = " ".join(CAKE.split()[:RUN])
    rows = [Row(str(n), (f"{part} {n} {TREE[n:]}",), f"goal {n}") for n in range(TOO_COMMON + 1)]
    assert contaminated(rows, [item(CAKE)]) == {}
    assert len(contaminated(rows[1:], [item(CAKE)])) == TOO_COMMON


def test_a_way_of_asking_that_is_trained_on_is_no_contamination_and_what_was_asked_in_it_is() -> None:
    way = "You are my old grandmother, who used to tell me about such things every evening before I went to sleep."
    measured = item(f"{way} Now, dear: {TREE}", kind="said", about=TREE)
    rows = [
        Row(str(n), (f"{way} {goal}",), goal) for n, goal in enumerate(("How is glue made?", "Who built the mill?"))
    ]
    assert contaminated(rows, [measured, item(TREE)]) == {}
    assert how(row(f"{way} Now, dear: {TREE}", about="another"), measured) == "whole"


def test_a_short_item_has_to_be_there_whole_and_a_very_short_one_alone() -> None:
    assert how(row("Please: who built the old mill?"), item("Who built the old mill?")) == "whole"
    assert how(row("Nobody knows who it was. The old mill is built on sand."), item("Who built the old mill?")) == ""
    assert how(row("Who was it who built it?"), item("who built it")) == ""
    assert how(row("Who built it?"), item("who built it")) == "whole"
    assert how(row(""), item("?")) == how(row("?"), item("")) == ""


def test_items_worded_alike_are_matched_by_all_their_words_alone() -> None:
    templated = item("Give me the formula of the philtre pul brim zin.", kind="alike")
    other = "I beg you. Give me the formula of the philtre pul brim ka."
    assert how(row(other), templated) == ""
    assert how(row(other), templated._replace(kind="asked")) == "near"
    assert how(row(f"I beg you. {templated.text}"), templated) == "whole"


def test_chinese_is_counted_by_the_character() -> None:
    text = "怎样才能在冬天给老苹果树剪枝，使它来年结出更多的果子"
    assert how(row(f"请告诉我：{text}，谢谢你了，我等着你的回答。"), item(text)) == "whole"
    assert how(row(f"老人说过{text[:RUN]}的事情我早就忘记了，今天我们谈谈别的吧"), item(text)) == "run"


def test_thousands_of_rows_against_thousands_of_items_take_seconds() -> None:
    dice = random.Random(0)
    known = ["".join(dice.choices("abcdefghijklmnopqrstuvwxyz", k=6)) for _ in range(5000)]

    def said(n: int) -> str:
        return "how do i " + " ".join(dice.choices(known, k=n))

    items = [item(said(dice.randint(6, 30))) for _ in range(4000)]
    rows = [Row(str(n), (said(20), said(60), said(10)), f"goal {n % 300}") for n in range(1200)]
    rows[7] = rows[7]._replace(texts=(f"well, {items[9].text}",))
    started = time.process_time()
    assert set(contaminated(rows, items)) == {"7"}
    assert time.process_time() - started < 20
