"""What Alembic runs for every command. Knows no file and no key: the connection is handed in (`bot.store.migrate`), or
there is none and the SQL is printed."""

from alembic import context

from bot.store.schema import metadata

config = context.config

if context.is_offline_mode():
    context.configure(
        dialect_name=config.attributes.get("dialect", "sqlite"),
        target_metadata=metadata,
        literal_binds=True,
        transactional_ddl=True,
    )
else:
    context.configure(  # the caller's transaction is around it all
        connection=config.attributes["connection"],
        target_metadata=metadata,
        render_as_batch=True,  # SQLite alters a table by rebuilding it
    )

with context.begin_transaction():
    context.run_migrations()
