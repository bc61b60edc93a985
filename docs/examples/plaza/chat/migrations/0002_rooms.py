from django.db import migrations

ROOMS = {"fountain": "At the fountain", "market": "Market", "steps": "On the steps"}


def open_rooms(apps, schema_editor):
    rooms = apps.get_model("chat", "Room").objects.using(schema_editor.connection.alias)
    for slug, name in ROOMS.items():
        rooms.create(slug=slug, name=name)


class Migration(migrations.Migration):

    dependencies = [("chat", "0001_initial")]

    # Rooms stay when it is undone: people have talked in them.
    operations = [migrations.RunPython(open_rooms, migrations.RunPython.noop)]
