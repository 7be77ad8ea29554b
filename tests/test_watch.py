import math
from pathlib import Path
from typing import Any

import pytest
from staging import ROWS, curve_of, dies_at, in_process, plan, said_of, same, weights

from training import stages, watch
from training.settings import Training, Watch
from training.watch import CHOSEN, HELD, KL, MARGIN, Asked, best, ended, looks


@pytest.fixture(scope="module")
def taught(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return in_process(plan(tiny_model), tmp_path_factory.mktemp("run"))


def seen(*chosen: float, held: tuple[float, ...] = (), kl: float = 0.1) -> list[dict[str, float]]:
    """Looks at steps 0, 10, 20 and so on; nothing is kept back at the start."""
    found = [{"step": 10.0 * n, CHOSEN: value, KL: kl} for n, value in enumerate(chosen)]
    for entry, loss in zip(found[1:], held, strict=False):
        entry[HELD] = loss
    return found


def test_looks_are_spread_over_a_stage_and_its_end_is_one() -> None:
    assert looks(160, Watch()) == {20, 40, 60, 80, 100, 120, 140, 160}
    assert looks(76, Watch()) == {15, 30, 46, 61, 76}
    assert len(looks(32, Watch())) == 5
    assert looks(10, Watch()) == {5, 10}
    assert looks(1, Watch()) == {1}
    assert looks(80, Watch(looks=0)) == set()


def test_a_stage_ends_when_what_was_chosen_falls_at_two_looks_running() -> None:
    settings = Training()
    assert not ended(seen(-20, -24, -30), 10, settings)
    assert not ended(seen(-20, -30, -24), 10, settings)
    assert ended(seen(-20, -18, -26, -31), 10, settings) == (
        "ran away by step 30: what was chosen became 1.10 nats a token less likely, and 0.5 is the bound"
    )
    assert best(seen(-20, -18, -26, -31), 10, settings) == 10
    assert best(seen(-20, -26, -31), 10, settings) == 0


def test_a_model_far_from_its_base_ends_its_stage_where_that_is_bounded() -> None:
    assert not ended(seen(-20, -20, -20, kl=3), 10, Training())
    assert "3.00 nats a token from its base" in ended(seen(-20, -20, -20, kl=3), 10, Training(watch=Watch(kl=2)))
    assert "no likelihood" in ended(seen(-20, math.nan, math.nan), 10, Training())


def test_the_lowest_loss_on_what_is_kept_back_is_kept_and_patience_ends() -> None:
    settings = Training(held_out=0.1, patience=2)
    falling = seen(-20, -20, -20, -20, held=(3.0, 2.0, 2.5))
    assert (best(falling, 10, settings), ended(falling, 10, settings)) == (20, "")
    over = seen(-20, -20, -20, -20, -20, held=(3.0, 2.0, 2.5, 2.1))
    assert best(over, 10, settings) == 20
    assert "not fallen for 2 looks" in ended(over, 10, settings)


def test_a_look_takes_no_more_than_its_share_of_a_stage(tiny_model: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    short, long = plan(tiny_model), plan(tiny_model, epochs=400)
    assert len(watch.probe(ROWS, tokenizer, short, Watch())) == watch.LEAST
    assert len(watch.probe(ROWS, tokenizer, long, Watch())) == Watch().rows
    assert watch.probe(ROWS, tokenizer, long, Watch(looks=0)) == []


def test_the_distance_from_the_base_is_that_of_the_adapter(tiny_model: Path, tiny_adapter: Path) -> None:
    from transformers import AutoModelForCausalLM

    from tools.adapters import put_on

    base: Any = AutoModelForCausalLM.from_pretrained(tiny_model)
    asked = [Asked([3, 6, 7], [8, 9, 2], [10, 2])]
    assert KL not in watch.look(base, asked)
    before = watch.look(base, asked)[CHOSEN]
    moved = put_on(base, tiny_adapter).train()
    found = watch.look(moved, asked)
    assert found[KL] > 0
    assert found[CHOSEN] != pytest.approx(before)
    assert moved.training
    with moved.disable_adapter():
        assert watch.look(moved, asked)[CHOSEN] == pytest.approx(before)


def test_rows_that_are_looked_at_together_say_what_each_says_alone(tiny_model: Path, tiny_adapter: Path) -> None:
    from transformers import AutoModelForCausalLM

    from tools.adapters import put_on

    moved = put_on(AutoModelForCausalLM.from_pretrained(tiny_model), tiny_adapter)
    asked = [Asked([3, 6, 7], [8, 9, 2], [10, 2]), Asked([3, 6], [2], []), Asked([3, 9, 8, 7, 6], [11, 12, 13, 2], [9])]
    alone = watch.look(moved, asked, 1)
    assert watch.look(moved, asked, 2) == pytest.approx(alone)
    assert watch.look(moved, asked) == pytest.approx(alone)
    assert watch.look(moved, asked[:1])[CHOSEN] != pytest.approx(alone[CHOSEN])


def test_looking_changes_nothing_of_what_is_trained(taught: Path, tiny_model: Path, tmp_path: Path) -> None:
    blind = in_process(plan(tiny_model), tmp_path, watch={"looks": 0})
    assert same(blind, taught)
    watched = [entry for entry in curve_of(taught) if CHOSEN in entry]
    assert [entry["step"] for entry in watched] == [0, *sorted(looks(said_of(taught).adapter.steps, Watch()))]
    assert not any(CHOSEN in entry for entry in curve_of(blind))


def test_a_stage_that_runs_away_ends_with_the_weights_of_the_sound_step_before(
    taught: Path, tiny_model: Path, tmp_path: Path
) -> None:
    wild = plan(tiny_model, stage="dpo", rate=0.1, epochs=6, loss="apo_down", beta=1, sft_weight=0)
    folder = in_process(wild, tmp_path / "a", taught, watch={"fall": 0.02})
    done = said_of(folder)
    assert "ran away by step" in done.why
    assert done.kept == 0
    assert same(folder, taught)
    assert done.adapter.steps in looks(32, Watch()) - {32}
    assert f"the weights are those of step 0 ({done.why})" in (folder / "README.md").read_text()
    assert stages.why(done.adapter, tmp_path / "a") == done.why
    assert curve_of(folder)[0][MARGIN] == 0
    with pytest.raises(InterruptedError):
        in_process(wild, tmp_path / "b", taught, dies_at(done.adapter.steps - 1), watch={"fall": 0.02})
    again = in_process(wild, tmp_path / "b", taught, watch={"fall": 0.02})
    assert said_of(again).why == done.why
    assert same(again, folder)


def test_rows_kept_back_are_never_trained_on_and_choose_the_step(tiny_model: Path, tmp_path: Path) -> None:
    train, held = stages.parted(ROWS, 0.2, 3)
    assert {row.id for row in train}.isdisjoint(row.id for row in held)
    assert len(train) + len(held) == len(ROWS)
    assert 4 < len(held) < 15
    settings: dict[str, Any] = {"held_out": 0.2, "patience": 1, "dropout": 0}
    folder = in_process(plan(tiny_model, rate=0.3, epochs=4), tmp_path, **settings)
    done = said_of(folder)
    losses = {entry["step"]: entry[HELD] for entry in curve_of(folder) if HELD in entry}
    assert sum(done.rows.values()) == len(train)
    assert "has not fallen for 1 looks" in done.why
    assert done.kept == min(losses, key=lambda step: losses[step])
    with pytest.raises(InterruptedError):
        in_process(plan(tiny_model, rate=0.3, epochs=4), tmp_path / "b", tell=dies_at(done.adapter.steps), **settings)
    assert same(in_process(plan(tiny_model, rate=0.3, epochs=4), tmp_path / "b", **settings), folder)


def test_a_loss_that_is_no_number_ends_a_stage_with_what_was_sound(
    taught: Path, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from trl import SFTTrainer

    compute = SFTTrainer.compute_loss

    def broken(self: Any, *args: Any, **more: Any) -> Any:
        return compute(self, *args, **more) * (math.nan if self.state.global_step == 14 else 1)

    monkeypatch.setattr(SFTTrainer, "compute_loss", broken)
    folder = in_process(plan(tiny_model), tmp_path)
    done = said_of(folder)
    assert done.why == "the loss is nan at step 15; lower the rate"
    assert done.kept == max(step for step in looks(24, Watch()) if step < 15)
    assert all(bool(tensor.isfinite().all()) for tensor in weights(folder).values())


def test_keeping_rows_back_wants_looks() -> None:
    with pytest.raises(ValueError, match=r"training.watch.looks above 0"):
        Training(held_out=0.1, watch=Watch(looks=0))


def test_the_distance_from_a_base_that_is_trained_itself_cannot_be_bounded() -> None:
    with pytest.raises(ValueError, match=r"training.watch.kl .* leave it out"):
        Training(method="full", watch=Watch(kl=1))
