"""Running, blocking, printing: one root cause, stable formats, two languages, nothing private, nothing but the standard
library."""

from __future__ import annotations

import ast
import datetime
import io
import json
import re
import string
import subprocess
import sys
import time
from pathlib import Path

import pytest

from e2fgvi_cli.doctor import cli, facts
from e2fgvi_cli.doctor.check import Check
from e2fgvi_cli.doctor.checks import all_checks
from e2fgvi_cli.doctor.host import Host
from e2fgvi_cli.doctor.model import Outcome, Remedy, Severity, Status, say
from e2fgvi_cli.doctor.redact import Redactor
from e2fgvi_cli.doctor.render import Renderer
from e2fgvi_cli.doctor.runner import run_checks, select
from e2fgvi_cli.doctor.texts import catalogue, choose_language, render

from .hosts import RTX_3060, gpu, install, machine, torch

ROOT = Path(__file__).parents[2]
DOCTOR = ROOT / "e2fgvi_cli" / "doctor"
DAY = datetime.date(2026, 11, 24)


def check(name: str, status: Status = Status.PASS, severity: Severity = Severity.REQUIRED, **more: object) -> Check:
    outcome = Outcome(status, say("crash", error=name), remedies=[Remedy(say("remedy.install"), "pip install x")])
    return Check(name, "system", severity, lambda host: outcome, **more)  # type: ignore[arg-type]


def statuses(checks: list[Check], tmp_path: Path) -> dict[str, tuple[str, str]]:
    report = run_checks(checks, machine(tmp_path))
    return {entry.id: (entry.status.value, entry.blocked_by) for entry in report.results}


def test_dependents_are_blocked_by_the_root(tmp_path: Path) -> None:
    checks = [
        check("a", Status.FAIL),
        check("b", needs=("a",), probe=True),
        check("c", needs=("b",), probe=True),
        check("d", Status.FAIL, explained_by=("a",)),
        check("e"),
    ]
    found = statuses(checks, tmp_path)
    assert found == {
        "a": ("fail", ""),
        "b": ("blocked", "a"),
        "c": ("blocked", "a"),
        "d": ("blocked", "a"),
        "e": ("pass", ""),
    }
    report = run_checks(checks, machine(tmp_path))
    assert [entry.id for entry in report.roots] == ["a"]
    assert not report.ready


def test_a_crashing_check_is_a_result(tmp_path: Path) -> None:
    def crash(host: Host) -> Outcome:
        raise ZeroDivisionError("oops")

    report = run_checks([Check("x", "system", Severity.REQUIRED, crash), check("y")], machine(tmp_path))
    assert [entry.status for entry in report.results] == [Status.CRASH, Status.PASS]
    assert "ZeroDivisionError: oops" in render(report.results[0].outcome.summary, "en")
    assert not report.ready


def test_optional_failures_leave_the_verdict(tmp_path: Path) -> None:
    report = run_checks([check("x", Status.FAIL, Severity.OPTIONAL)], machine(tmp_path))
    assert report.ready
    assert [entry.id for entry in report.warnings] == ["x"]


def test_full_disk_is_named_when_a_probe_cannot_start(tmp_path: Path) -> None:
    def full(host: Host) -> Outcome:
        raise OSError(28, "No space left on device")

    checks = [
        check("sys.disk", Status.FAIL, Severity.ADVICE),
        Check("x", "system", Severity.REQUIRED, full, probe=True),
    ]
    report = run_checks(checks, machine(tmp_path))
    assert report.results[1].blocked_by == "sys.disk"
    assert [entry.id for entry in report.roots] == ["sys.disk"]


def test_probes_run_side_by_side(tmp_path: Path) -> None:
    def sleep(host: Host) -> Outcome:
        time.sleep(0.6)
        return Outcome(Status.PASS, say("mps.ok"))

    start = time.monotonic()
    run_checks([Check(name, "gpu", Severity.REQUIRED, sleep, probe=True) for name in "ab"], machine(tmp_path))
    assert time.monotonic() - start < 1.1


def test_selection() -> None:
    ids = [entry.id for entry in select(all_checks(), only=["ext.load", "weights:open"], skip=["ext.load:mmcv"])]
    assert ids == [*(f"ext.load:{name}" for name in ("torch", "torchvision", "numpy", "cv2", "av")), "weights:open"]
    with pytest.raises(ValueError, match="no check is called 'nothing'"):
        select(all_checks(), only=["nothing"])


def test_ids_of_the_brief_are_all_there() -> None:
    families = {entry.family for entry in all_checks()}
    wanted = """sys.python sys.shadow sys.path pkg.record sys.msvc ext.static ext.load tv.pair numpy.abi cv2.one torch.cuda_build
    gpu.driver gpu.arch gpu.kernel cudnn.conv deform.op gpu.vram sys.ram sys.commit sys.disk io.decode io.encode weights
    net.hosts env.vars"""
    assert set(wanted.split()) <= families
    ids = [entry.id for entry in all_checks()]
    assert len(ids) == len(set(ids))
    for entry in all_checks():
        assert set(entry.needs) | set(entry.explained_by) <= set(ids), entry.id


def broken_host(tmp_path: Path) -> Host:
    """torch 2.8 with the torchvision of 2.5, a GPU, no weights of note."""
    host = machine(tmp_path, platform="win32", os_name="Windows 11", gpu_report=gpu("560.94", (12, 6), RTX_3060))
    torch(host)
    install(host, "torchvision", "0.20.1", requires=("torch==2.5.1",))
    return host


def renderer(host: Host, language: str = "en", today: datetime.date = DAY) -> Renderer:
    checks = select(
        all_checks(), only=["sys.python", "tv.pair", "gpu.driver", "gpu.arch:torch", "gpu.vram", "ext.static:mmcv"]
    )
    return Renderer(host, run_checks(checks, host), language, Redactor({}, Path("/nowhere"), "box"), today)


GOLDEN_EN = """\
e2fgvi check-env VERSION  (facts of 2026-11-23, 1 days old)
Windows 11 · Python 3.11.9 · x86_64
  item     detected                                          required                                          verdict
  GPU      RTX 3060 (sm_86), 11.0 of 12.0 GiB free           optional; the CPU works, slowly                   ok
  CUDA     torch built for 12.6; driver runs up to 12.6      only with a GPU: not newer than the driver's      ok
  driver   560.94                                            528.33 or newer for CUDA 12.6                     ok
  Python   3.11.9                                            3.11 to 3.14                                      ok
  PyTorch  2.8.0+cu126                                       torch>=2.4                                        BAD
  mmcv     not installed                                     not needed                                        ok
[ok]    sys.python             Python 3.11.9, x86_64
[FAIL]  tv.pair                torchvision 0.20.1 needs torch ==2.5.1 but torch 2.8.0+cu126 is installed
        fix 1: install the torchvision that belongs to this torch
            python -m pip install --force-reinstall --no-deps torchvision==0.23.0 --index-url INDEX/cu126
[ok]    gpu.driver             driver 560.94 is new enough for CUDA 12.6
[ok]    gpu.arch:torch         torch 2.8.0+cu126 has code for sm_86
[ok]    gpu.vram               RTX 3060: 11.0 GiB of 12.0 GiB free
Result: NOT READY: 1 cause(s), first tv.pair.
Paste for an issue: e2fgvi check-env --markdown
"""


def squeeze(text: str) -> str:
    """Versions, the index address and runs of blanks out of the way."""
    text = re.sub(r"check-env \d+\.\d+\.\d+", "check-env VERSION", text).replace(
        facts.load_facts()["torch_index"], "INDEX"
    )
    return re.sub(r"(?<=\S) {2,}", "  ", text)


def test_text_report_is_stable(tmp_path: Path) -> None:
    assert squeeze(renderer(broken_host(tmp_path)).text()) == squeeze(GOLDEN_EN)


def test_chinese_report(tmp_path: Path) -> None:
    text = renderer(broken_host(tmp_path), "zh").text()
    assert "torchvision 0.20.1 需要 torch ==2.5.1，但安装的是 torch 2.8.0+cu126" in text
    assert "办法 1：安装与当前 torch 匹配的 torchvision" in text
    assert "结论：不能使用：1 个原因，首先处理 tv.pair。" in text
    assert re.search(r"检测到 +要求 +结论", text)


def test_colours_only_on_request(tmp_path: Path) -> None:
    view = renderer(broken_host(tmp_path))
    assert "\x1b" not in view.text()
    assert "\x1b[31m[FAIL]" in view.text(colour=True)


def test_old_facts_warn(tmp_path: Path) -> None:
    host = broken_host(tmp_path)
    as_of = datetime.date.fromisoformat(facts.load_facts()["as_of"])
    assert "days old (limit 180)" not in renderer(host, today=as_of + datetime.timedelta(180)).text()
    assert "facts are 181 days old (limit 180)" in renderer(host, today=as_of + datetime.timedelta(181)).text()


def test_json_follows_the_schema(tmp_path: Path) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    schema = json.loads((ROOT / "docs" / "check-env.schema.json").read_text())
    tree = renderer(broken_host(tmp_path)).json()
    jsonschema.validate(tree, schema)
    assert tree["root_causes"] == ["tv.pair"]
    assert tree["checks"][1]["remedy"][0]["cmd"].startswith("python -m pip install")
    tree["checks"][0]["status"] = "maybe"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(tree, schema)


def test_json_of_every_check_follows_the_schema() -> None:
    jsonschema = pytest.importorskip("jsonschema")
    out = io.StringIO()
    cli.main_with(cli.Request(json=True, static=True, lang="en"), out, io.StringIO())
    tree = json.loads(out.getvalue())
    jsonschema.validate(tree, json.loads((ROOT / "docs" / "check-env.schema.json").read_text()))
    assert tree["seconds"]["static"] < 10  # one second on an idle machine; tests may share theirs


def test_markdown_folds_and_fences(tmp_path: Path) -> None:
    text = renderer(broken_host(tmp_path)).markdown()
    assert text.startswith("<details><summary>e2fgvi check-env: Result: NOT READY")
    assert text.count("```") == 2
    assert "| driver | 560.94 | 528.33 or newer for CUDA 12.6 | ok |" in text
    assert text.rstrip().endswith("</details>")


def test_redaction() -> None:
    hide = Redactor({"USER": "maria"}, Path("/home/maria"), "lab-17.example.org")
    text = "/home/maria/x, C:\\Users\\liwei\\y, /Users/anna/z, maria@lab-17 10.1.2.3 http://u:secret@proxy:8080 "
    text += "GPU-12345678-1234-1234-1234-123456789abc"
    clean = hide.text(text)
    for private in ("maria", "anna", "lab-17", "10.1.2.3", "secret", "12345678-1234", "liwei"):
        assert private not in clean, clean
    assert clean.startswith("~/x, C:\\Users\\USER")
    for harmless in (
        "opencv-python 5.0.0.93",
        "nvidia-cudnn-cu12==9.10.2.21",
        "torch 2.14.1+cu130",
        "/usr/lib/x86_64-linux-gnu",
    ):
        assert hide.text(harmless) == harmless


def test_report_is_redacted_unless_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    host = machine(tmp_path)
    (tmp_path / "torch.py").write_text("")
    host.path.insert(0, str(tmp_path))
    for redact, word in ((True, "~/torch.py hides"), (False, f"{tmp_path}/torch.py hides")):
        out = io.StringIO()
        request = cli.Request(only=["sys.shadow"], redact=redact, lang="en")
        assert cli.main_with(request, out, io.StringIO(), host=host) == 1
        assert word in out.getvalue()


def test_exit_codes(tmp_path: Path) -> None:
    def code(host: Host, **request: object) -> int:
        return cli.main_with(cli.Request(lang="en", **request), io.StringIO(), io.StringIO(), host=host)  # type: ignore[arg-type]

    good = machine(tmp_path)
    assert code(good, only=["sys.python"]) == 0
    assert code(machine(tmp_path, python=(3, 15, 0)), only=["sys.python"]) == 0
    assert code(machine(tmp_path, python=(3, 15, 0)), only=["sys.python"], strict=True) == 3
    assert code(machine(tmp_path, python=(3, 9, 0)), only=["sys.python"], strict=True) == 1
    assert code(good, only=["nothing"]) == 2
    assert code(good, timeout=0.0) == 2
    assert code(good, explain=tmp_path / "absent.so") == 2
    assert code(good, list_checks=True) == 0


def test_every_text_exists_in_both_languages_and_is_used() -> None:
    used: set[str] = set()
    prefixes: set[str] = set()
    for path in DOCTOR.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                used.add(node.value)
            elif isinstance(node, ast.JoinedStr):
                parts = ["*" if isinstance(part, ast.FormattedValue) else str(part.value) for part in node.values]
                prefixes.add("".join(parts))
    patterns = [
        re.compile(re.escape(text).replace(r"\*", ".+") + "$") for text in prefixes if text.count("*") < len(text)
    ]
    for key, entry in catalogue().items():
        fields = [
            {name for _, name, _, _ in string.Formatter().parse(entry[language]) if name} for language in ("en", "zh")
        ]
        assert fields[0] >= fields[1], key
        assert entry["en"], key
        assert key in used or any(pattern.match(key) for pattern in patterns), f"{key} is not used"
    for path in DOCTOR.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("say", "passed", "skipped"):
                key = node.args[0]
                if isinstance(key, ast.Constant):
                    assert key.value in catalogue(), f"{path.name}: {key.value}"
                    given = {word.arg for word in node.keywords}
                    wanted = {name for _, name, _, _ in string.Formatter().parse(catalogue()[key.value]["en"]) if name}
                    assert None in given or wanted <= given, f"{path.name}: {key.value} needs {wanted - given}"


def test_language_choice() -> None:
    assert choose_language("zh", {}) == "zh"
    assert choose_language("auto", {"LANG": "zh_CN.UTF-8"}) == "zh"
    assert choose_language("auto", {"LC_ALL": "C", "LANG": "zh_CN.UTF-8"}) == "en"
    assert choose_language("auto", {"LANG": "zh_CN.UTF-8"}, "ascii") == "en"


def test_standard_library_only() -> None:
    """Every import of the doctor outside its probes is of Python itself or of this package's own light modules."""
    allowed = set(sys.stdlib_module_names) | {"e2fgvi_cli"}
    for path in DOCTOR.rglob("*.py"):
        if path.parent.name == "probes":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                assert {name.name.split(".")[0] for name in node.names} <= allowed, path
            elif isinstance(node, ast.ImportFrom) and not node.level:
                assert (node.module or "").split(".")[0] in allowed, path
            elif isinstance(node, ast.ImportFrom) and node.level > 2:
                assert path.parent == DOCTOR / "checks", path
                light = (node.module or "").split(".")[0] in ("planner", "weights")
                assert light, path  # standard library too


def test_bare_interpreter() -> None:
    """No site-packages, no environment: the doctor runs, says what is missing and ends with 1."""
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); from e2fgvi_cli.doctor.cli import main; "
        "sys.exit(main(['--static', '--lang', 'en']))"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1, done.stderr
    assert "not installed: torch, torchvision, numpy" in done.stdout
    assert "Result: NOT READY" in done.stdout
    assert done.stderr == ""


def test_module_and_usage_errors() -> None:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "e2fgvi_cli.doctor", *arguments]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)

    listing = run("--list")
    assert listing.returncode == 0
    assert listing.stdout.splitlines()[0].split() == ["sys.python", "system", "required"]
    assert run("--only", "nothing").returncode == 2
    assert run("--lang", "fr").returncode == 2


def test_old_interpreters_get_a_sentence() -> None:
    """Python 3.7 to 3.9 (the published program wants 3.7) cannot run the checks, and are told so."""
    old = next(
        (
            path
            for version in ("3.7", "3.8", "3.9")
            for path in Path.home().glob(f".pyenv/versions/{version}*/bin/python")
        ),
        None,
    )
    if old is None:
        pytest.skip("no Python older than 3.10 here")
    done = subprocess.run(
        [old, "-m", "e2fgvi_cli.doctor"], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert done.stderr.startswith("[FAIL] sys.python: Python 3.11 or newer is needed")
