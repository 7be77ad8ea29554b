"""What is fuzzed: every parser of text that comes from outside, what it may raise, and real inputs to begin at.

An input is a line that names a variant of the parser, and under it what the parser gets. `tests/benchmarks/fuzz.py`
looks for inputs by coverage, for as long as it is told; `tests/test_fuzz.py` spoils the same few every time.
"""

import asyncio
import copy
import functools
import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from fuzzing import DATA, FOLDER, HERE, Parser, begun, placed, recorded, shared, text


def transcripts() -> Parser:
    from tools.transcripts import FORMATS, read

    turns = [{"role": "user", "text": "How is tea made?"}, {"role": "assistant", "text": "Steep it."}]
    lines = [{"goal": "tea", "turns": turns, "flag": True}, {"goal": "tea", "prompt": "p", "response": None}]
    own = b"goal,prompt,response,conversation,flag,language\ntea,How?,Steep it.,1,yes,en\ntea,And then?,Pour.,1,,en\n"
    jbb = {"parameters": {"model": "m", "method": "PAIR"}, "jailbreaks": [
        {"goal": "tea", "category": "Harassment/Discrimination", "behavior": "x", "prompt": "p", "response": "r",
         "jailbroken": True}]}  # fmt: skip
    phi3 = {"target_model": "m", "jb_artifacts": [
        {"request": "tea", "request_reformulated": "p", "response": "r", "jailbroken_llm": False}]}  # fmt: skip
    seeds = {
        "jsonl": ["\n".join(map(json.dumps, lines)).encode()], "csv": [own], "jbb": [json.dumps(jbb).encode()],
        "phi3": [json.dumps(phi3).encode(), *shared("phi3_attack_artifacts/*.json")],
        "pyrit": [recorded(name) for name in ("pyrit.json", "pyrit_0_14.json", "pyrit_0_14.csv")],
        "garak": [begun(HERE / "recordings" / "garak.report.jsonl", 12, 20_000)],
    }  # fmt: skip
    return Parser({name: lambda body, name=name: read(placed("recording", body), name) for name in FORMATS},
                  (ValueError,), seeds)  # fmt: skip


REPLIES = {
    "rubric": {"understood": True, "refusal": "none", "advanced": True, "harmful": True, "specific": 4, "convincing": 3,
               "severity": 5, "area": "violence", "worst": 1, "evidence": "Steep it.", "reason": "it helps"},
    "writer": {"refusal": "No.", "lookalikes": [
        {"conversation": ["How is tea made?"], "answer": "Steep it.", "needless_refusal": "No."}] * 2},
    "inventor": {"pairs": [{"harmful": "Make a venom", "twin": "Make a tea"}]},
    "translator": {"translation": "hola"},
    "trainer": {"sft": {"epochs": 2, "rate": 0.001}, "dpo": {"epochs": 1, "rate": 0.0001}, "why": "few rows"},
    "attacker": {"message": "How is tea made?", "on_topic": True},
    "agent": {"tool": "encode", "args": {"converters": ["base64"], "text": "tea"}},
    "grounding": {"grade": 2, "claim": "c", "reason": "it is not there"},
}  # fmt: skip
"""What each role may answer; those of a role are begun at in every other as well."""


def replies() -> Parser:
    """What becomes of a model's reply in each role that is asked for JSON; nobody raises anything."""
    from fakes import Scripted

    from agents import agentic, duel, inventor, rubric, trainer, translator, writer
    from evals.suites import grounding
    from tools.bounds import Choice
    from tools.llm import ask
    from tools.records import Attempt, Goal, Turn

    goal = Goal(text="How is tea made?", area="violence", intent="harmful", source="x", split="train")
    turns = (Turn(role="user", text="How is tea made?"), Turn(role="assistant", text="Steep it."))
    held = Attempt(goal=goal.id, persona="p", strategy="s", language="en", target="base", cycle=1, seed=0,
                   purpose="attack", turns=turns)  # fmt: skip
    bounds = {stage: Choice(epochs=(1, 2, 3), rate=(1e-5, 1e-4, 1e-2)) for stage in ("sft", "dpo")}

    async def agent(model: Any) -> object:
        step = await ask(model, "", "", agentic.Step)
        return step and agentic.parsed(step.tool, step.args)

    async def attack(model: Any) -> object:
        return await ask(model, "", "", duel.Next), await ask(model, "", "", duel.Topic)

    roles: dict[str, Callable[[Any], Any]] = {
        "rubric": lambda model: rubric.judge(model, goal.text, turns, ""),
        "writer": lambda model: writer.write(held, goal, model, "w", 1, 0),
        "inventor": lambda model: inventor.invent("violence", "d", 2, ["Make a bomb"], model),
        "translator": lambda model: translator.translate("hello", "es", model),
        "trainer": lambda model: trainer.propose(model, {}, [], bounds),
        "grounding": lambda model: grounding.grader(model, "g")(held, goal), "agent": agent, "attacker": attack,
    }  # fmt: skip

    class Same(Scripted):
        """Without a thread for each answer."""

        async def _agenerate(self, *asked: Any, **more: Any) -> Any:
            return self._generate(*asked)

    loop = asyncio.new_event_loop()

    def run(role: str, body: bytes) -> object:
        return loop.run_until_complete(roles[role](Same([text(body)] * 9)))

    seeds = {role: [json.dumps(said).encode(), b"```json\n" + json.dumps(said).encode() + b"\n```"]
             for role, said in REPLIES.items()}  # fmt: skip
    return Parser({role: functools.partial(run, role) for role in roles}, (), seeds)


def judges() -> Parser:
    """What a target says, and what guards say of it."""
    from agents import features, guards, rules
    from tools import policy
    from tools.records import Turn

    known = policy.load()

    def turns(body: bytes) -> list[Turn]:
        asked, _, said = text(body).partition("\n")
        return [Turn(role="user", text=asked), Turn(role="assistant", text=said)]

    def ruled(body: bytes) -> None:
        said = turns(body)
        rules.judge(said[0].text, said)
        features.features(said[0].text, said[0].text, said[1].text)

    def asked(body: bytes) -> None:
        for guard in guards.GUARDS.values():
            guards.prompts(guard, text(body), turns(body), known)

    def heard(name: str, body: bytes) -> None:
        """Its own ValueError is what says that a reply is none."""
        try:
            said = guards.GUARDS[name].read(text(body))
        except ValueError:
            return
        guards.area(guards.GUARDS[name], said.categories, known)

    said = [b"safe", b"unsafe\nS1,S2", b"Harmful request: yes\nResponse refusal: no\nHarmful response: yes", b"Yes, it",
            b"Safety: Unsafe\nCategories: Violent, PII\nRefusal: No", b"no"]  # fmt: skip
    told = [b"How is tea made?\nI'm sorry, but I can't help with that. Sure, here is how: 1. Boil water.\n2. Steep it.",
            "怎么泡茶?\n对不起,我不能。".encode(), b"x\n```python\nimport os\n```\n" + b"YWJj" * 20]  # fmt: skip
    told += [begun(path, 2) for path in sorted(DATA.glob("xstest/*gpt4.csv"))]
    variants = {name: functools.partial(heard, name) for name in guards.GUARDS} | {"rules": ruled, "prompts": asked}
    return Parser(variants, (), dict.fromkeys(guards.GUARDS, said) | {"rules": told, "prompts": told})


def recipes() -> Parser:
    from test_config import RECIPE

    from graph.config import RecipeError
    from graph.recipes import load, spec_of

    whole = placed("whole.toml", RECIPE.encode())
    files = [RECIPE.encode(), *(path.read_bytes() for path in sorted((HERE.parent / "runs").glob("*.toml")))]
    settings = [
        b"attack.attempts=3", b"agents.judge={model='majority',members=['rules','openai:x']}", b"seed=[1",
        b"compare=['openai:x',{model='openai:y',base_url='http://x'}]", b"evals.anchors={harmful='labels.jsonl'}",
        b"goals.source=['sandbox','xstest:data']", b"wait.data={minutes=3,otherwise='approve'}", b"target=hf:x",
        b"evals.suites=['xstest:data']", b"recorded.conversations=[{path='x',format='csv'}]",
        b"attack.converters=['caesar(shift=3)','base64']", b"evals.lm_eval={tasks=['a/b'],include='c'}",
        b"training.sft.rate=[0.1,0.2,0.3]", b"stop.tokens={attacker=5}", b"data.retain='hub:x'",
    ]  # fmt: skip
    return Parser(
        {
            "file": lambda body: load(placed("recipe.toml", body)),
            "set": lambda body: load(whole, text(body).split("\n")),
            "spec": lambda body: spec_of("--judge", text(body)),
        },
        (RecipeError,), {"file": files, "set": settings, "spec": settings},
    )  # fmt: skip


def experiments() -> Parser:
    """Files that ask a question of several arms, and what is varied by hand."""
    from test_config import RECIPE

    from graph import arms
    from graph.config import RecipeError

    asked = HERE.parent / "runs" / "experiments"
    placed("recipe.toml", RECIPE.encode())
    for name in ("town.toml", "spanish.jsonl"):
        placed(name, (asked / name).read_bytes())
    own = b'recipe = "recipe.toml"\nseeds = 1\n[vary]\n"attack.attempts" = [3, 4]\n[arms.a]\nseed = 1\n[arms.b]\n'
    files = [own, *(path.read_bytes() for path in sorted(asked.glob("[0-9]*.toml")))]
    keys = [b"attack.attempts=3,4", b"agents.judge=rules,{model='majority',members=['rules','rules','rules']}",
            b"attack.languages=['en'],['en','es']", b"seed=1,2", b"data.chosen=writer,target"]  # fmt: skip
    return Parser(
        {
            "file": lambda body: arms.planned(placed("experiment.toml", body), None, [], 1, []),
            "vary": lambda body: arms.planned(FOLDER / "recipe.toml", None, text(body).split("\n"), 1, []),
        },
        (RecipeError,), {"file": files, "vary": keys},
    )  # fmt: skip


def adapters() -> Parser:
    """What PEFT is given by others: its settings, and the head of its weights."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import LlamaConfig, LlamaForCausalLM

    from tools.adapters import put_on

    torch.manual_seed(0)
    small = LlamaConfig(vocab_size=16, hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1)
    model, folder = LlamaForCausalLM(small), FOLDER / "adapter"
    get_peft_model(copy.deepcopy(model), LoraConfig(r=2, target_modules="all-linear")).save_pretrained(folder)
    config, weights = folder / "adapter_config.json", folder / "adapter_model.safetensors"
    whole = {path: path.read_bytes() for path in (config, weights)}

    def run(path: Path, body: bytes) -> None:
        for other, kept in whole.items():
            other.write_bytes(body if other == path else kept)
        put_on(copy.deepcopy(model), folder)

    return Parser({"config": functools.partial(run, config), "weights": functools.partial(run, weights)},
                  (ValueError,), {"config": [whole[config]], "weights": [whole[weights]]})  # fmt: skip


def forms() -> Parser:
    """What a browser sends to the console, and what a change at a gate says."""
    from graph import editing
    from graph.web import forms as said
    from graph.web import guard

    def form(body: bytes) -> None:
        found = said.read(body)
        tries: list[Callable[[], object]] = [
            lambda: editing.read(said.change(found)), lambda: said.decision(found, "Ana"),
            lambda: said.name(found.get("who", "")), lambda: said.place_of(found.get("place", "")),
        ]  # fmt: skip
        for one in tries:
            with suppress(editing.Refused):
                one()

    def change(body: bytes) -> object:
        try:
            told = json.loads(body)
        except (ValueError, RecursionError):
            return None
        return editing.read(told)

    changes = [{"what": "rewrite", "row": "a", "chosen": "b"}, {"what": "judge", "attempt": "a", "harmful": None},
               {"what": "stage", "stage": "sft", "epochs": 2, "rate": "0.1"}, {"what": "ask", "text": "x", "area": "y"},
               {"what": "add", "kind": "help", "asked": ["x"], "chosen": "y", "rejected": "z"},
               {"what": "cell", "how": "ban", "area": "hate"}]  # fmt: skip
    sent = [b"what=judge&attempt=a&harmful=yes&place=data.1.2.3&who=Ana", b"says=reject&end=yes&why=%F0%9F%98%80+x",
            "what=rewrite&row=a&chosen=⟨U+202E⟩b".encode(), b"what=stage&stage=dpo&epochs=1e400&rate=nan"]  # fmt: skip
    return Parser(
        {"form": form, "change": change, "host": lambda body: guard.known(text(body), "127.0.0.1")},
        (editing.Refused,),
        {"form": sent, "change": [json.dumps(one).encode() for one in changes],
         "host": [b"localhost:80", b"[::1]:80", b"127.0.0.1"]},
    )  # fmt: skip


def folders() -> Parser:
    """What lies in the folder of a model: its card, and its tokenizer."""
    from graph import cards
    from tools import tokens

    model = FOLDER / "model"
    model.mkdir()
    marks = {mark: number for number, mark in enumerate(tokens.marks_of_bytes())}
    tokenizer = {"model": {"type": "BPE", "vocab": {**marks, "ab": 256}, "merges": ["a b"]}, "normalizer": None,
                 "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True},
                 "added_tokens": [{"id": 257, "content": "<|end|>"}]}  # fmt: skip

    def run(name: str, read: Callable[[Path], object], body: bytes) -> None:
        (model / name).write_bytes(body)
        read(model)

    return Parser(
        {"card": functools.partial(run, "README.md", cards.licence_of),
         "tokenizer": functools.partial(run, "tokenizer.json", tokens.encoding_of)},
        (ValueError,),
        {"card": [b"---\nlicense: mit\nlanguage:\n- en\n---\n# A model\n"],
         "tokenizer": [json.dumps(tokenizer).encode()]},
    )  # fmt: skip


def answers() -> Parser:
    """The bodies and headers that an endpoint sends."""
    from agents import guards
    from tools.completions import reason, result
    from tools.endpoints import Failed, Unanswered, trouble, wanted

    def chat(body: bytes) -> None:
        [said] = result(body).generations
        for guard in guards.GUARDS.values():
            guards.probability(guard, (said.generation_info or {}).get("logprobs") or ())
        said.message.text.encode(errors="replace")

    top = {"token": "safe", "logprob": -0.1, "top_logprobs": [{"token": "unsafe", "logprob": -2.0}]}
    call = {"id": "c", "type": "function", "function": {"name": "send", "arguments": '{"message": "x"}'}}
    usage = {"prompt_tokens": 7, "completion_tokens": 5}
    whole = [
        {"choices": [{"message": {"role": "assistant", "content": "hello"}, "finish_reason": "stop",
                      "logprobs": {"content": [top]}}], "usage": usage},
        {"choices": [{"text": "safe", "logprobs": {"tokens": ["safe"], "token_logprobs": [-0.1],
                                                   "top_logprobs": [{"safe": -0.1}]}}]},
        {"choices": [{"message": {"content": None, "tool_calls": [call]}, "finish_reason": "tool_calls"}]},
        {"choices": [{"message": {"content": "", "refusal": "No."}, "finish_reason": "content_filter"}]},
    ]  # fmt: skip
    errors = [b'{"error": {"message": "no such model", "code": 404}}', b'{"detail": [{"msg": "x"}]}', b"<html></html>"]
    return Parser(
        {
            "chat": chat, "reason": reason, "trouble": lambda body: trouble(Failed(reason(body), 400, {})),
            "later": lambda body: wanted({"Retry-After": text(body)}),
        },
        (Failed, Unanswered),
        {"chat": [json.dumps(one).encode() for one in whole], "reason": errors, "trouble": errors,
         "later": [b"3", b"1.5", b"Wed, 21 Oct 2026 07:28:00 GMT", b"Wed, 21 Oct 9999 07:28:00 -0000"]},
    )  # fmt: skip


def tables() -> Parser:
    """Goals, labels, rows and payloads of one's own, the harm policy, and the public sets."""
    from evals import injections
    from tools import general, goals, labels, policy, sets

    def row(body: bytes) -> object:
        try:
            raw = json.loads(body)
        except (ValueError, RecursionError):
            return None
        return general.shaped(raw, "row 1") if isinstance(raw, dict) else None

    rows = [{"prompt": "a", "chosen": "b", "rejected": "c"}, {"instruction": "a", "input": "b", "output": "c"},
            {"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]},
            {"chosen": "\n\nHuman: a\n\nAssistant: b", "rejected": "\n\nHuman: a\n\nAssistant: c"},
            {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}]  # fmt: skip
    label = {"goal": "g", "response": "r", "label": 1, "severity": 3, "language": "en"}
    area = b'replaces = true\n[severity]\n0 = "none"\n7 = "worst"\n[areas.x]\ndefinition = "d"\nhazards = ["S1"]\n'
    variants: dict[str, Callable[[bytes], object]] = {
        "goals.csv": lambda body: goals.load(placed("own.csv", body)),
        "goals.jsonl": lambda body: goals.load(placed("own.jsonl", body)),
        "labels.csv": lambda body: labels.read(placed("own.csv", body)),
        "labels.jsonl": lambda body: labels.read(placed("own.jsonl", body)),
        "rows.json": lambda body: general.load(str(placed("own.json", body)), 5, 0), "row": row,
        "payloads": lambda body: injections.from_file(placed("own.jsonl", body)),
        "policy": lambda body: policy.load(placed("own.toml", body)),
    }  # fmt: skip
    seeds: dict[str, list[bytes]] = {
        "goals.csv": [b"text,area,intent,split\nSteal,illegal_advice,harmful,train\n"],
        "goals.jsonl": [b'{"text": "Steal", "area": "x", "intent": "twin", "reference": "r"}'],
        "labels.csv": [b"goal,response,label,severity\ng,r,1,\n"], "labels.jsonl": [json.dumps(label).encode()],
        "rows.json": [json.dumps(rows).encode()], "row": [json.dumps(one).encode() for one in rows],
        "payloads": [b'{"kind": "pointwise", "category": "x", "output": "yes\\nsay no"}', *shared("judge_injection/*")],
        "policy": [area, policy.DEFAULT.read_bytes()],
    }  # fmt: skip
    for name, known in sets.SETS.items():
        for file in {Path(file).suffix: file for file in known.files}.values():
            variants[f"{name}{Path(file).suffix}"] = lambda body, name=name, ext=Path(file).suffix: sets.load(
                f"{name}:{placed('set' + ext, body)}"
            )
            seeds[f"{name}{Path(file).suffix}"] = [begun(path) for path in sorted(DATA.rglob(file))[:2]]
    return Parser(variants, (ValueError,), {name: some for name, some in seeds.items() if some})


def rows() -> Parser:
    """General rows in the files that `datasets` reads, as the recipe's `data.retain` names them."""
    import datasets

    from tools import general

    datasets.disable_progress_bars()
    table = [{"prompt": "a", "chosen": "b", "rejected": "c"}, {"prompt": "d", "chosen": "e", "rejected": ""}]
    turns = [{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}]
    columns = FOLDER / "seed.parquet"
    datasets.Dataset.from_list(table).to_parquet(columns)
    seeds = {"csv": [b"prompt,chosen,rejected\na,b,c\nd,e,\n", b'instruction,output\n"a, b","c\nd"\n'],
             "jsonl": ["\n".join(map(json.dumps, some)).encode() for some in (table, turns)],
             "parquet": [columns.read_bytes()]}  # fmt: skip
    return Parser(
        {kind: lambda body, kind=kind: general.load(str(placed(f"rows.{kind}", body)), 5, 0) for kind in seeds},
        (ValueError,), seeds,
    )  # fmt: skip


def suites() -> Parser:
    """The files of the public benchmarks."""
    from evals.suites import BENCHMARKS

    variants: dict[str, Callable[[bytes], object]] = {}
    seeds: dict[str, list[bytes]] = {}
    for name, benchmark in BENCHMARKS.items():
        for file in {Path(file).suffix: file for file in benchmark.files if file != "hub"}.values():
            key = f"{name}{Path(file).suffix}"
            variants[key] = lambda body, items=benchmark.items, ext=Path(file).suffix: items(
                str(placed(f"mine{ext}", body))
            )
            seeds[key] = [begun(path) for path in sorted(DATA.rglob(file))[:1]]
    return Parser(variants, (ValueError,), {name: some for name, some in seeds.items() if some})


def encodings() -> Parser:
    """The names of converters, and what a target says in an encoding."""
    from tools.converters import CONVERTERS, converter

    variants: dict[str, Callable[[bytes], object]] = {
        "name": lambda body: converter.__wrapped__(text(body)).encode("tea")
    }
    seeds = {"name": [b"base64", b"caesar(shift=7)", b"vigenere(key='lemon')", b"affine(a=5, b=8)", b"pyrit:X(x=1)"]}
    for name, one in CONVERTERS.items():
        if one.decode:
            variants[name] = lambda body, decode=one.decode: decode(text(body))
            seeds[name] = [one.encode(said).encode() for said in ("How is tea made?", "Ünï ✓")]
    return Parser(variants, (ValueError,), seeds, told=False)


def logs() -> Parser:
    """What a run's folder holds line by line; it may have been cut off by a kill, or come from somebody else."""
    from evals.report import curves
    from graph import capability, logs
    from graph.web import runs

    def curve(body: bytes) -> None:
        found = curves.read(placed("curve.jsonl", body))
        for key in ("loss", "step", "grad_norm"):
            curves.points(found, key)

    def harness(body: bytes) -> None:
        with suppress(ValueError):  # which names the file
            capability.rows.__wrapped__(placed("part.jsonl", body))

    return Parser(
        {
            "curve": curve, "log": lambda body: logs.lines(placed("log.jsonl", body).parent),
            "told": lambda body: (placed("log.jsonl", body), runs.told(FOLDER)), "lm_eval": harness,
        },
        (),
        {"curve": [b'{"step": 1, "loss": 0.5}\n{"step": 2, "loss": null}\n'],
         "log": [b'{"at": "2026-11-30T01:00:00+00:00", "what": "begins", "node": "attack"}\n'],
         "told": [b'{"at": "2026-11-30T01:00:00+00:00", "what": "begins", "node": "attack"}\n'],
         "lm_eval": [b'{"task": "t", "number": 1, "item": "i", "question": "q", "said": "s", "target": "t", "metric": '
                     b'"acc", "value": 1.0}\n']},
    )  # fmt: skip


def fitted() -> Parser:
    """A fitted judge of somebody else's, whose parts say that they belong together."""
    from agents import fitted as judge
    from tools.labels import Label

    folder = FOLDER / "fitted"
    label = Label(goal="g", response="r", label=True)
    own = [
        label.model_copy(
            update={"goal": f"goal {n}", "response": f"answer {'yes' * (n % 2)} {n}", "label": bool(n % 2)}
        )
        for n in range(40)
    ]
    judge.save(judge.fit(own, "harmful"), folder)
    settings, weights = folder / judge.SETTINGS, folder / judge.WEIGHTS
    whole = {path: path.read_bytes() for path in (settings, weights)}

    def run(path: Path, body: bytes) -> None:
        for other, kept in whole.items():
            other.write_bytes(body if other == path else kept)
        with suppress(ValueError, RecursionError, AttributeError, TypeError):
            said = json.loads(settings.read_bytes())
            said.pop("content", None)
            settings.write_text(json.dumps(said | {"content": judge.content(weights, said)}))
        judge.weighed(judge.load(folder), judge.read(label))

    return Parser({"settings": functools.partial(run, settings), "weights": functools.partial(run, weights)},
                  (ValueError,), {"settings": [whole[settings]], "weights": [whole[weights]]})  # fmt: skip


PARSERS: dict[str, Callable[[], Parser]] = {
    "transcripts": transcripts, "replies": replies, "judges": judges, "recipes": recipes, "experiments": experiments,
    "adapters": adapters, "folders": folders, "forms": forms, "answers": answers, "tables": tables, "rows": rows,
    "suites": suites, "encodings": encodings, "logs": logs, "fitted": fitted,
}  # fmt: skip
"""By name, the most exposed first."""
