import django.channels.models
from django.db import migrations, models


class Migration(migrations.Migration):

    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="Announcement",
            fields=[
                ("deadline", models.BigIntegerField(db_index=True)),
                (
                    "name",
                    django.channels.models.NameField(
                        max_length=200, primary_key=True, serialize=False
                    ),
                ),
                ("info", models.TextField()),
            ],
            options={
                "abstract": False,
                "default_permissions": (),
            },
        ),
        migrations.CreateModel(
            name="DelayedMessage",
            fields=[
                ("deadline", models.BigIntegerField(db_index=True)),
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("queue", django.channels.models.NameField(max_length=200)),
                ("envelope", models.TextField()),
                ("due", models.BigIntegerField(db_index=True)),
            ],
            options={
                "abstract": False,
                "default_permissions": (),
                "indexes": [
                    models.Index(fields=["queue"], name="channels_delayed_queue")
                ],
            },
        ),
        migrations.CreateModel(
            name="Member",
            fields=[
                ("deadline", models.BigIntegerField(db_index=True)),
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("group", django.channels.models.NameField(max_length=200)),
                ("inbox", django.channels.models.NameField(max_length=200)),
                ("channel", django.channels.models.NameField(max_length=200)),
            ],
            options={
                "abstract": False,
                "default_permissions": (),
                "constraints": [
                    models.UniqueConstraint(
                        fields=("group", "inbox", "channel"),
                        name="channels_member_once",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="Message",
            fields=[
                ("deadline", models.BigIntegerField(db_index=True)),
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("queue", django.channels.models.NameField(max_length=200)),
                ("envelope", models.TextField()),
            ],
            options={
                "abstract": False,
                "default_permissions": (),
                "indexes": [
                    models.Index(fields=["queue", "id"], name="channels_message_queue")
                ],
            },
        ),
    ]
