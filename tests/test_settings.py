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


def test_an_unknown_setting_stops_the_start_and_suggests_the_right_one() -> None:
    Path(".env").write_text("STORY_SLOT=3\n")
    with pytest.raises(settings.SettingsError, match=r"^STORY_SLOT in \.env is not a setting .* mean STORY_SLOTS\?$"):
        settings.load()


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("STORY_SLOTS=many", "STORY_SLOTS"),
        ("STORY_SLOTS=0", "STORY_SLOTS"),
        ("STORY_ENGINE=gpt9", "STORY_ENGINE"),
        ("EDIT_INTERVAL_S=0", "EDIT_INTERVAL_S"),
        ("SANDBOX_PORT=70000", "SANDBOX_PORT"),
        ("DISCORD_TOKEN=hunter2", "DISCORD_TOKEN"),
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


def test_a_file_in_another_encoding_is_a_sentence() -> None:
    Path(".env").write_bytes("LOG_LEVEL=info\n# caf\xe9\n".encode("latin-1"))
    with pytest.raises(settings.SettingsError, match="UTF-8"):
        settings.load()


def test_the_environment_wins_over_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    Path(".env").write_text("STORY_SLOTS=3\n")
    monkeypatch.setenv("STORY_SLOTS", "5")
    assert settings.load().story_slots == 5


def test_secrets_never_show_in_repr_or_dump() -> None:
    loaded = settings.load(discord_token=GOOD_TOKEN, db_key="swordfish")
    assert loaded.discord_token is not None
    assert loaded.discord_token.get_secret_value() == GOOD_TOKEN
    shown = f"{loaded!r} {loaded} {loaded.model_dump()} {loaded.model_dump_json()}"
    assert GOOD_TOKEN not in shown
    assert "swordfish" not in shown


def test_a_client_secret_in_place_of_a_token_is_recognised() -> None:
    problem = settings.token_shape_problem("c2VjcmV0LXRleHQtaGVyZQ.GabcdE.abcdefghijk")
    assert "client secret" in problem
    assert not settings.token_shape_problem(GOOD_TOKEN)


def test_a_worker_process_inherits_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISCORD_TOKEN", GOOD_TOKEN)
    monkeypatch.setenv("DB_KEY", "swordfish" * 4)
    monkeypatch.setenv("HTTP_PROXY_TEST", "kept")
    inherited = settings.worker_environment()
    assert inherited["HTTP_PROXY_TEST"] == "kept"
    assert not {"DISCORD_TOKEN", "DB_KEY"} & set(inherited)
