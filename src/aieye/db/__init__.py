"""The database: engine and sessions, column types, the one schema, migrations, backup."""
