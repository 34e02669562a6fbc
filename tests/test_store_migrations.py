"""Schema history: from nothing, from an older file, printed as SQL, and what a failing upgrade leaves."""

# ruff: noqa: ASYNC240  # a test may look at its files directly

import errno
import io
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import setuptools
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from bot.store import Store, sqlite
from bot.store.errors import StoreFullError, StoreMigrationError, StoreTooNewError
from bot.store.keys import StoreKeys, derive_keys
from bot.store.migrate import MIGRATIONS, alembic_config, prepare
from bot.store.schema import metadata
from models.serving.requests import Sampling
from models.serving.short_requests import PortraitRequest, VerseRequest

ROOT = Path(__file__).parents[1]
KEYS = derive_keys("correct horse battery staple")
HEAD = "0009"
NEXT = "0010"

ADD_A_COLUMN = f"""
import sqlalchemy as sa
from alembic import op

revision = "{NEXT}"
down_revision = "{HEAD}"


def upgrade() -> None:
    op.add_column("stories", sa.Column("mood", sa.Text, nullable=False, server_default="calm"))
"""
REBUILD_A_TABLE = f"""
import sqlalchemy as sa
from alembic import op

revision = "{NEXT}"
down_revision = "{HEAD}"


def upgrade() -> None:
    with op.batch_alter_table("stories", recreate="always") as batch:
        batch.add_column(sa.Column("mood", sa.Text, nullable=False, server_default="calm"))
"""
FAIL_HALF_WAY = (
    ADD_A_COLUMN
    + """    op.create_table("half", sa.Column("a", sa.Text))
    op.execute("DELETE FROM stories")
    raise ZeroDivisionError("a mistake in a migration")
"""
)
ORPHAN_ROWS = (
    ADD_A_COLUMN
    + """    op.execute("DELETE FROM stories")
"""
)


def revisions(path: Path) -> tuple[str, ...]:
    with closing(sqlite.connect(path, KEYS)) as connection:
        return tuple(row[0] for row in connection.execute("SELECT version_num FROM alembic_version"))


def story_rows(path: Path) -> list[Any]:
    with closing(sqlite.connect(path, KEYS)) as connection:
        return connection.execute("SELECT s.*, t.text FROM stories s JOIN turns t ON t.story_id = s.id").fetchall()


def with_revision(directory: Path, source: str) -> Path:
    """A copy of the real migrations with one revision more."""
    migrations = directory / "migrations"
    shutil.copytree(MIGRATIONS, migrations, ignore=shutil.ignore_patterns("__pycache__"))
    (migrations / "versions" / f"v{NEXT}_next.py").write_text(source)
    return migrations


@pytest.fixture
async def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A closed database of schema HEAD with one story, its key KEYS."""
    monkeypatch.setattr("bot.store.store.load_keys", lambda *_, **__: KEYS)
    path = tmp_path / "data" / "inkwell.db"
    async with Store.open(path) as store:
        await store.begin_story(
            prompt="unmistakable words",
            user_id=1,
            guild_id=None,
            channel_id=2,
            sampling=Sampling(),
            application_id=3,
            interaction_token=None,
            locale="en-GB",
        )
    assert revisions(path) == (HEAD,)
    return path


@pytest.fixture
def migrated(tmp_path: Path) -> Iterator[sa.Connection]:
    prepare(tmp_path / "new.db", KEYS)
    engine = sqlite.sync_engine(tmp_path / "new.db", KEYS)
    with engine.connect() as connection:
        yield connection
    engine.dispose()


def described(connection: sa.Connection) -> dict[str, Any]:
    """Tables with their columns, keys, checks and indices, comparable."""
    inspector = sa.inspect(connection)

    def ordered(items: list[Any]) -> list[str]:
        return sorted(repr(sorted(item.items(), key=lambda pair: pair[0])) for item in items)

    return {
        table: {
            "columns": ordered([column | {"type": str(column["type"])} for column in inspector.get_columns(table)]),
            "primary key": inspector.get_pk_constraint(table),
            "foreign keys": ordered(inspector.get_foreign_keys(table)),
            "unique": ordered(inspector.get_unique_constraints(table)),
            "checks": ordered(inspector.get_check_constraints(table)),
            "indices": ordered(
                [
                    index | {"dialect_options": {key: str(value) for key, value in index["dialect_options"].items()}}
                    for index in inspector.get_indexes(table)
                ]
            ),
        }
        for table in inspector.get_table_names()
        if table != "alembic_version"
    }


def test_the_migrations_build_exactly_the_schema_that_the_queries_use(migrated: sa.Connection) -> None:
    assert compare_metadata(MigrationContext.configure(migrated), metadata) == []
    fresh = sa.create_engine("sqlite://")
    with fresh.connect() as connection:
        metadata.create_all(connection)
        expected = described(connection)
    fresh.dispose()
    assert described(migrated) == expected
    assert len(expected) == 24


def printed(dialect: str) -> str:
    config = alembic_config()
    config.output_buffer = io.StringIO()
    config.attributes["dialect"] = dialect
    command.upgrade(config, "head", sql=True)
    return config.output_buffer.getvalue()


def test_the_upgrade_can_be_printed_as_sql_that_builds_the_same(migrated: sa.Connection) -> None:
    engine = sa.create_engine("sqlite://", poolclass=sa.pool.StaticPool)
    raw = engine.raw_connection()
    assert isinstance(raw.driver_connection, sqlite3.Connection)
    raw.driver_connection.executescript(printed("sqlite"))
    raw.close()
    with engine.connect() as connection:
        assert described(connection) == described(migrated)
    engine.dispose()


def test_the_upgrade_is_portable_to_postgresql() -> None:
    sql = printed("postgresql")
    stories, turns, head = (
        sql.index(part) for part in ("CREATE TABLE stories", "CREATE TABLE turns", "ADD CONSTRAINT fk_stories_head")
    )
    assert stories < turns < head
    assert "BIGINT" in sql
    assert "DOUBLE PRECISION" in sql
    assert "WHERE state = 'open'" in sql


def test_migrations_travel_with_the_package() -> None:
    packages = setuptools.find_packages(str(ROOT), include=["bot*"])
    assert {"bot.store.migrations", "bot.store.migrations.versions"} <= set(packages)
    assert '"*.mako"' in (ROOT / "pyproject.toml").read_text()


async def test_a_current_database_is_neither_copied_nor_changed(path: Path) -> None:
    before = path.read_bytes()
    prepare(path, KEYS)
    assert path.read_bytes() == before
    assert not list(path.parent.glob("*.before-*"))


@pytest.mark.parametrize("source", [ADD_A_COLUMN, REBUILD_A_TABLE])
async def test_an_upgrade_keeps_every_row_and_a_readable_encrypted_copy_from_before(
    path: Path, tmp_path: Path, source: str
) -> None:
    rows = story_rows(path)
    (path.parent / f"inkwell.db.before-{HEAD}").write_bytes(b"of an earlier upgrade")
    prepare(path, KEYS, with_revision(tmp_path, source))

    assert revisions(path) == (NEXT,)
    assert [sorted(map(str, row)) for row in story_rows(path)] == [sorted(map(str, (*row, "calm"))) for row in rows]
    (copy,) = path.parent.glob("*.before-*")
    assert copy.name == f"inkwell.db.before-{NEXT}"
    assert copy.stat().st_mode & 0o777 == 0o600
    assert b"unmistakable" not in copy.read_bytes()
    assert revisions(copy) == (HEAD,)
    assert story_rows(copy) == rows


@pytest.mark.parametrize("source", [FAIL_HALF_WAY, ORPHAN_ROWS])
async def test_a_failing_upgrade_leaves_the_database_as_it_was(path: Path, tmp_path: Path, source: str) -> None:
    rows = story_rows(path)
    with pytest.raises(StoreMigrationError, match=f"{HEAD} to {NEXT}"):
        prepare(path, KEYS, with_revision(tmp_path, source))
    assert revisions(path) == (HEAD,)
    assert story_rows(path) == rows
    with closing(sqlite.connect(path, KEYS)) as connection:
        assert not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'half'").fetchall()
    async with Store.open(path) as store:
        assert len(await store.open_jobs()) == 1


async def test_code_from_before_an_upgrade_refuses_the_upgraded_file(path: Path, tmp_path: Path) -> None:
    prepare(path, KEYS, with_revision(tmp_path, ADD_A_COLUMN))
    before = path.read_bytes()
    with pytest.raises(StoreTooNewError) as refused:
        prepare(path, KEYS)
    assert (refused.value.found, refused.value.known) == (NEXT, HEAD)
    assert path.read_bytes() == before


async def test_a_disk_that_fills_under_the_copy_stops_the_upgrade_before_it_begins(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = story_rows(path)
    real_copy = sqlite.copy

    def copy_until_full(at: Path, keys: StoreKeys, target: Path) -> None:
        real_copy(at, keys, target)
        raise OSError(errno.ENOSPC, "No space left on device", str(target))

    monkeypatch.setattr(sqlite, "copy", copy_until_full)
    monkeypatch.setattr("bot.store.migrate.MIGRATIONS", with_revision(tmp_path, ADD_A_COLUMN))
    with pytest.raises(StoreFullError):
        async with Store.open(path):
            pytest.fail("it opened")
    assert revisions(path) == (HEAD,)
    assert story_rows(path) == rows
    assert not list(path.parent.glob("*.before-*"))


async def test_the_first_published_schema_is_upgraded_with_its_rows_and_keeps_what_came_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.store.store.load_keys", lambda *_, **__: KEYS)
    old = tmp_path / "migrations"
    shutil.copytree(MIGRATIONS, old, ignore=shutil.ignore_patterns("__pycache__", "v000[2-9]*"))
    path = tmp_path / "inkwell.db"
    prepare(path, KEYS, old)
    assert revisions(path) == ("0001",)
    with closing(sqlite.connect(path, KEYS)) as connection:
        connection.execute("INSERT INTO kv VALUES ('kept', 'before', 1.0)")
    async with Store.open(path) as store:
        assert await store.get_value("kept") == "before"
        assert await store.taught_texts(7) == ()
        taught = await store.add_taught_text(guild_id=7, user_id=1, source="file", title="a.txt", text="words")
        assert await store.taught_texts(7) == (taught,)
        await store.moods.sample(9, 7, None)
        assert [each.channel_id for each in await store.moods.channels()] == [9]
        assert await store.people.consent(1) is None
        asked = PortraitRequest(seeds=("Mara",))
        receipt = await store.album.keep(user_id=1, recipe=asked, model_version="drawn@1", digest="a" * 64)
        assert (await store.album.receipt(receipt.code)).recipe == asked
    assert revisions(path) == (HEAD,)


async def test_faces_and_receipts_outlive_the_table_that_is_built_anew_for_verses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.store.store.load_keys", lambda *_, **__: KEYS)
    old = tmp_path / "migrations"
    shutil.copytree(MIGRATIONS, old, ignore=shutil.ignore_patterns("__pycache__", "v0007*", "v0008*", "v0009*"))
    path = tmp_path / "inkwell.db"
    prepare(path, KEYS, old)
    with closing(sqlite.connect(path, KEYS)) as connection:
        connection.execute("BEGIN")  # a story and its first turn need each other
        connection.execute("INSERT INTO stories VALUES ('s', NULL, 2, 'a', 't', 'en', 'h', 1.0, 1.0)")
        connection.execute(
            "INSERT INTO turns VALUES ('h', 's', NULL, 'a', 'prompt', 'words', 'done', 0, NULL, NULL, '[]', 1.0, 1.0)"
        )
        connection.execute("COMMIT")
        connection.execute(
            "INSERT INTO portrait_receipts VALUES "
            """('code', 'portrait', 'a', '{"type": "portrait", "seeds": ["Mara"]}', 'drawn@1', 'd', 1.0)"""
        )
        connection.execute("INSERT INTO story_characters VALUES ('s', 'k', 'Mara', 'code', 'a', x'00', '{}', 1.0)")
    async with Store.open(path) as store:
        (face,) = await store.album.cast("s")
        assert face.code == "code"
        assert (await store.album.receipt("code")).recipe == PortraitRequest(seeds=("Mara",))
        asked = VerseRequest(form="zh5", seed="Mara")
        receipt = await store.album.keep(user_id=1, recipe=asked, model_version="verse@1", digest="a" * 64)
        assert (receipt.kind, receipt.recipe) == ("verse", asked)
    with closing(sqlite.connect(path, KEYS)) as connection:
        connection.execute("DELETE FROM portrait_receipts WHERE code = 'code'")
        assert connection.execute("SELECT count(*) FROM story_characters").fetchone() == (0,)  # the key still cascades
