from django.db import migrations, models


class Migration(migrations.Migration):

    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="Stats",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        verbose_name="ID",
                        auto_created=True,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                (
                    "ip_address",
                    models.GenericIPAddressField(
                        unique=True, verbose_name="IP address"
                    ),
                ),
                (
                    "count",
                    models.PositiveBigIntegerField(default=0, verbose_name="views"),
                ),
                ("last_view", models.DateTimeField(auto_now=True)),
            ],
            options={
                "verbose_name_plural": "stats",
                "ordering": ["-count"],
            },
        ),
    ]
