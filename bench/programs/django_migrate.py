"""Django's `migrate` on a project with many models and migrations, in a throw-away folder.

    django_migrate.py MODELS MIGRATIONS

Every migration makes Django rebuild the state of all models, whose classes refer to each other in cycles. The
database is SQLite in memory. Prints one JSON object.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from time import perf_counter

from heap import memory

HEADER = "from django.db import migrations, models\n\n\nclass Migration(migrations.Migration):\n"


def first_migration(models: int) -> str:
    """Return the migration that makes all models; each but the first refers to the one before it."""
    lines = [HEADER, "    initial = True\n    operations = [\n"]
    for n in range(models):
        link = (
            "" if n == 0 else f"('before', models.ForeignKey('shop.Item{n - 1}', on_delete=models.CASCADE)), "
        )
        lines.append(
            f"        migrations.CreateModel('Item{n}', [('id', models.AutoField(primary_key=True)), {link}"
            "('name', models.CharField(max_length=80))]),\n"
        )
    return "".join([*lines, "    ]\n"])


def later_migration(number: int, models: int) -> str:
    """Return a migration that adds a field to one model."""
    return (
        f"{HEADER}    dependencies = [('shop', '{number - 1:04}_step')]\n"
        f"    operations = [migrations.AddField('item{number % models}', 'extra{number}', "
        "models.IntegerField(null=True))]\n"
    )


def main(arguments: list[str]) -> None:
    """Write the project, migrate it."""
    models, steps = map(int, arguments)
    began = perf_counter()
    with tempfile.TemporaryDirectory(prefix="midden-bench-") as folder:
        migrations = Path(folder) / "shop" / "migrations"
        migrations.mkdir(parents=True)
        for package in (migrations, migrations.parent):
            (package / "__init__.py").touch()
        (migrations / "0001_step.py").write_text(first_migration(models))
        for number in range(2, steps + 1):
            (migrations / f"{number:04}_step.py").write_text(later_migration(number, models))
        sys.path.insert(0, folder)

        import django
        from django.conf import settings
        from django.core.management import call_command

        settings.configure(
            INSTALLED_APPS=[
                "django.contrib.contenttypes",
                "django.contrib.auth",
                "django.contrib.sessions",
                "shop",
            ],
            DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
            DEFAULT_AUTO_FIELD="django.db.models.AutoField",
            USE_TZ=True,
        )
        django.setup()
        call_command("migrate", verbosity=0)
    print(json.dumps({"seconds": perf_counter() - began, "memory_kib": memory()}))


if __name__ == "__main__":
    main(sys.argv[1:])
