"""Settings: every default documented, every mistake one sentence, no secret ever shown."""

import base64
import re
from pathlib import Path

import pytest

from bot import settings

GOOD_TOKEN = base64.urlsafe_b64encode(b"123456789012345678").decode().rstrip("=") + ".GabcdE." + "x" * 38


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in settings.Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.chdir(tmp_path)


def test_without_a_token_inkwell_plays_in_its_sandbox() -> None:
    assert settings.load().in_sandbox


def test_the_example_file_names_every_setting_with_its_default() -> None:
    example = (Path(__file__).parents[1] / ".env.example").read_text(encoding="utf-8")
    written = dict(re.findall(r"^([A-Z_]+)=(.*)$", example, re.MULTILINE))
    assert set(written) == {name.upper() for name in settings.Settings.model_fields}
    Path(".env").write_text(example, encoding="utf-8")
    assert settings.load() == settings.Settings(_env_file=None)


def test_an_adapter_s_folder_is_meant_from_where_inkwell_starts(tmp_path: Path) -> None:
    assert settings.load(story_adapter="none").story_adapter == "none"
    assert settings.load(story_adapter="my/adapter").story_adapter == str(tmp_path / "my" / "adapter")


def test_an_unknown_setting_stops_the_start_and_suggests_the_right_one() -> None:
    Path(".env").write_text("STORY_SLOT=3\n")
    with pytest.raises(settings.SettingsError, match=r"^STORY_SLOT in \.env is not a setting .* mean STORY_SLOTS\?$"):
        settings.load()


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("STORY_SLOTS=many", "STORY_SLOTS"),
        ("STORY_SLOTS=-1", "STORY_SLOTS"),
        ("STORY_ENGINE=gpt9", "STORY_ENGINE"),
        ("EDIT_INTERVAL_S=0", "EDIT_INTERVAL_S"),
        ("SANDBOX_PORT=70000", "SANDBOX_PORT"),
        ("DISCORD_TOKEN=hunter2", "DISCORD_TOKEN"),
        ("STORY_WORKERS=-1", "STORY_WORKERS"),
        ("STORY_GPU_MEMORY=2", "STORY_GPU_MEMORY"),
        ("METRICS_PORT=65536", "METRICS_PORT"),
        ("TRAIN_GUILDS=my server", "TRAIN_GUILDS"),
        ("TRAIN_PROMOTE=always", "TRAIN_PROMOTE"),
        ("TRAIN_RATE=0", "TRAIN_RATE"),
        ("STORY_BASE_URL=localhost:8000", "STORY_BASE_URL"),
        ("STORY_BASE_URL=http://ann:hunter2@host/v1", "STORY_BASE_URL"),
    ],
)
def test_a_malformed_value_stops_the_start_with_one_sentence_naming_it(line: str, name: str) -> None:
    Path(".env").write_text(line + "\n")
    with pytest.raises(settings.SettingsError) as caught:
        settings.load()
    sentence = str(caught.value)
    assert sentence.startswith(f"{name} can't be used: ")
    assert "\n" not in sentence
    assert "hunter2" not in sentence


@pytest.mark.parametrize(
    ("lines", "missing"),
    [
        ("STORY_MODEL=gpt", "STORY_BASE_URL"),
        ("STORY_BASE_URL=http://127.0.0.1:8000/v1", "STORY_MODEL"),
    ],
)
def test_a_server_that_is_named_in_part_stops_the_start_with_what_is_missing(lines: str, missing: str) -> None:
    Path(".env").write_text(f"STORY_ENGINE=openai\n{lines}\n")
    with pytest.raises(settings.SettingsError, match=rf"^{missing} is missing: STORY_ENGINE=openai needs .*\.$"):
        settings.load()


def test_a_servers_address_gets_its_version_where_it_has_no_path() -> None:
    for given in ("http://127.0.0.1:8000", "http://127.0.0.1:8000/", "http://127.0.0.1:8000/v1"):
        assert settings.load(story_base_url=given).story_base_url == "http://127.0.0.1:8000/v1"
    assert settings.load(story_base_url="https://host/api/v2").story_base_url == "https://host/api/v2"


def test_a_file_in_another_encoding_is_a_sentence() -> None:
    Path(".env").write_bytes("LOG_LEVEL=info\n# caf\xe9\n".encode("latin-1"))
    with pytest.raises(settings.SettingsError, match="UTF-8"):
        settings.load()


def test_the_environment_wins_over_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    Path(".env").write_text("STORY_SLOTS=3\n")
    monkeypatch.setenv("STORY_SLOTS", "5")
    assert settings.load().story_slots == 5


def test_secrets_never_show_in_repr_or_dump() -> None:
    loaded = settings.load(discord_token=GOOD_TOKEN, db_key="swordfish", story_api_key="sk-mackerel")
    assert loaded.discord_token is not None
    assert loaded.discord_token.get_secret_value() == GOOD_TOKEN
    shown = f"{loaded!r} {loaded} {loaded.model_dump()} {loaded.model_dump_json()}"
    assert GOOD_TOKEN not in shown
    assert "swordfish" not in shown
    assert "mackerel" not in shown
    assert set(loaded.secrets) == {GOOD_TOKEN, "swordfish", "sk-mackerel"}


def test_a_client_secret_in_place_of_a_token_is_recognised() -> None:
    problem = settings.token_shape_problem("c2VjcmV0LXRleHQtaGVyZQ.GabcdE.abcdefghijk")
    assert "client secret" in problem
    assert not settings.token_shape_problem(GOOD_TOKEN)


def test_a_worker_process_inherits_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISCORD_TOKEN", GOOD_TOKEN)
    monkeypatch.setenv("DB_KEY", "swordfish" * 4)
    monkeypatch.setenv("STORY_API_KEY", "sk-mackerel")
    monkeypatch.setenv("HTTP_PROXY_TEST", "kept")
    inherited = settings.worker_environment()
    assert inherited["HTTP_PROXY_TEST"] == "kept"
    assert not {"DISCORD_TOKEN", "DB_KEY", "STORY_API_KEY"} & set(inherited)


def test_a_pasted_token_is_freed_of_what_came_along() -> None:
    Path(".env").write_text(f"DISCORD_TOKEN= 'Bot {GOOD_TOKEN} '\n")
    loaded = settings.load()
    assert loaded.discord_token is not None
    assert loaded.discord_token.get_secret_value() == GOOD_TOKEN


@pytest.mark.parametrize("line", [GOOD_TOKEN, f"DISCORD_TOKEN {GOOD_TOKEN}", f"DISCORD_TOKEN: {GOOD_TOKEN}"])
def test_a_line_that_sets_nothing_stops_the_start_and_is_numbered_not_shown(line: str) -> None:
    Path(".env").write_text(f"# mine\n\nQUEUE_MAX=1\n{line}\n")
    with pytest.raises(settings.SettingsError, match=r"^Line 4 of \.env is no setting; write NAME=value") as caught:
        settings.load()
    assert GOOD_TOKEN not in str(caught.value)


def test_a_token_in_the_place_of_a_name_is_not_shown() -> None:
    Path(".env").write_text(f"{GOOD_TOKEN}=\n{GOOD_TOKEN}x=1\n")
    with pytest.raises(settings.SettingsError, match="names no setting") as caught:
        settings.load()
    shown = " ".join(caught.value.sentences).lower()
    assert GOOD_TOKEN.split(".")[2].lower() not in shown


def test_every_mistake_is_told_of_in_one_go() -> None:
    Path(".env").write_text("STORY_SLOTS=many\nDISCORD_TOKEN=hunter2\nSTORY_SLOT=3\n")
    with pytest.raises(settings.SettingsError) as caught:
        settings.load()
    assert sorted(sentence.split()[0] for sentence in caught.value.sentences) == [
        "DISCORD_TOKEN",
        "STORY_SLOT",
        "STORY_SLOTS",
    ]
    assert str(caught.value) == caught.value.sentences[0]


def test_servers_that_may_train_are_read_as_ids_and_one_person_trains_only_in_the_sandbox() -> None:
    assert settings.load().training_guilds == frozenset()
    assert settings.load().training_options.min_authors == 1
    chosen = settings.load(discord_token=GOOD_TOKEN, train_guilds=" 123, 456,", train_steps=9)
    assert chosen.training_guilds == {123, 456}
    assert (chosen.training_options.min_authors, chosen.training_options.steps) == (3, 9)
