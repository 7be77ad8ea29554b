"""One whole cycle on recorded conversations of real models, as its user would run it."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

from public import data

ROOT = Path(__file__).parent.parent


def test_a_run_on_recorded_conversations_ends_green_and_reports_what_it_did(tmp_path: Path) -> None:
    data("phi3_attack_artifacts/past_tense_phi3.json")
    done = subprocess.run(
        [sys.executable, "-m", "graph.cli", "run", str(ROOT / "runs" / "recorded.toml"), "--run", "one",
         "--set", "training.most_rows=60", "--set", "training.length=64"],
        cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    report = (tmp_path / "runs" / "one" / "report.md").read_text()
    assert "weights are random" in report
    assert re.search(r"JailbreakBench \| \d{3} \| \d{3} \| \d+ \| \d+", report)
    assert "recordings without an answer were kept and not judged" in report
    assert re.search(r"SFT \d+ steps, loss \d+\.\d+ to \d+\.\d+; DPO \d+ steps, loss", report)
    assert re.search(r"\d+ help, \d+ refuse, \d+ retain", report)
    assert re.search(r"\| judge \| jailbroken \| 237 \| \d+\.\d%", report)
    adapters = list((tmp_path / "runs" / "one" / "adapters").glob("*/adapter.json"))
    losses = {
        json.loads(path.read_text())["adapter"]["stage"]: json.loads(path.read_text())["adapter"] for path in adapters
    }
    assert losses["sft"]["loss_last"] < losses["sft"]["loss_first"]


def test_where_the_data_is_absent_a_line_says_how_to_point_at_ones_own(tmp_path: Path) -> None:
    recipe = tmp_path / "recorded.toml"
    recipe.write_text((ROOT / "runs" / "recorded.toml").read_text())
    done = subprocess.run(
        [sys.executable, "-m", "graph.cli", "run", str(recipe)], cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "give the path of data that you have" in done.stderr
    assert not (tmp_path / "runs").exists()
