"""
The tables in which django.channels.backends.database keeps what it stores.

Deadlines are times of the database's clock, in milliseconds since 1970, so
that neither time zones nor the clocks of other machines matter.
"""

from django.db import connections, models, transaction

# Queues that one query asks about. Databases limit the columns of a result.
MAX_COLUMNS = 500

# Expired rows that one transaction removes.
SWEEP_SIZE = 500


def milliseconds(seconds):
    return round(seconds * 1000)


class NameField(models.CharField):
    """A name in which upper and lower case differ, on each database alike."""

    def __init__(self, *args, **kwargs):
        kwargs.setdefault("max_length", 200)
        super().__init__(*args, **kwargs)

    def db_parameters(self, connection):
        parameters = super().db_parameters(connection)
        if connection.vendor == "mysql":
            parameters["collation"] = "utf8mb4_bin"
        return parameters


class ExpiringQuerySet(models.QuerySet):
    """Rows with a deadline. What changes them sends no signals."""

    def live(self, now):
        return self.filter(deadline__gte=now)

    def expired(self, now):
        return self.filter(deadline__lt=now)

    def drop(self):
        """Delete the rows and return their number."""
        return self._raw_delete(self.db)

    def sweep(self, now):
        """Delete what has expired, without waiting for rows that others lock."""
        expired = self.expired(now).order_by()
        while expired.exists():
            with transaction.atomic(using=self.db):
                rows = expired
                if connections[self.db].features.has_select_for_update_skip_locked:
                    rows = rows.select_for_update(skip_locked=True)
                keys = list(rows.values_list("pk", flat=True)[:SWEEP_SIZE])
                self.filter(pk__in=keys).drop()
            if len(keys) < SWEEP_SIZE:
                break

    def insert(self, **values):
        """Insert a row and return its id."""
        pk = self.model._meta.pk
        fields = [field for field in self.model._meta.fields if field is not pk]
        ((number,),) = self._insert(
            [self.model(**values)], fields, returning_fields=[pk]
        )
        return number

    def add(self, rows):
        """Insert `rows`, a list of objects, unless they are there."""
        features = connections[self.db].features
        self.bulk_create(rows, ignore_conflicts=features.supports_ignore_conflicts)


class MessageQuerySet(ExpiringQuerySet):
    def append(self, queue, envelope, deadline, notify=None):
        """
        Add a message and return its id. Ids rise, so that they tell the order.
        `notify` is the name of what PostgreSQL is to notify of it.
        """
        if notify is None:
            return self.insert(queue=queue, envelope=envelope, deadline=deadline)
        return self._fetch(
            "WITH sent AS (INSERT INTO {table} (queue, envelope, deadline) "
            "VALUES (%s, %s, %s) RETURNING id) SELECT id, pg_notify(%s, '') FROM sent",
            [queue, envelope, deadline, notify],
        )[0]

    def heads(self, queues):
        """Return a dict of the id of the first message of each queue that has any."""
        heads = {}
        for start in range(0, len(queues), MAX_COLUMNS):
            some = queues[start : start + MAX_COLUMNS]
            head = "(SELECT MIN(id) FROM {table} WHERE queue = %s)"
            suffix = connections[self.db].features.bare_select_suffix
            ids = self._fetch(f"SELECT {', '.join([head] * len(some))}{suffix}", some)
            heads |= {queue: id for queue, id in zip(some, ids) if id is not None}
        return heads

    def is_any_in(self, queues):
        """Return whether one of `queues` has messages, which is asked for cheaply."""
        names = ", ".join(["%s"] * len(queues))
        sql = f"SELECT MIN(id) FROM {{table}} WHERE queue IN ({names})"
        return self._fetch(sql, queues)[0] is not None

    @property
    def skips_locked(self):
        """Whether take() passes over messages that other receivers are taking."""
        features = connections[self.db].features
        return (
            features.has_select_for_update_skip_locked
            and features.supports_select_for_update_with_limit
        )

    def take(self, queue, head):
        """
        Remove the first message of `queue`, of which `head` is the id, or was a
        moment ago. Return its envelope, or None if others have taken it.
        """
        if connections[self.db].vendor == "postgresql":
            row = self._fetch(
                "DELETE FROM {table} WHERE id = (SELECT id FROM {table} WHERE "
                "queue = %s ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED) "
                "RETURNING envelope",
                [queue],
            )
            return row and row[0]
        if not self.skips_locked:
            return self._claim("id = %s", head)
        with transaction.atomic(using=self.db):
            rows = "queue = %s ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED"
            return self._claim(rows, queue)

    def _claim(self, rows, param):
        row = self._fetch(f"SELECT id, envelope FROM {{table}} WHERE {rows}", [param])
        # Of all who have read the row, one deletes it.
        if row is not None and self.filter(id=row[0]).drop():
            return row[1]

    def _fetch(self, sql, params):
        connection = connections[self.db]
        table = connection.ops.quote_name(self.model._meta.db_table)
        with connection.cursor() as cursor:
            cursor.execute(sql.format(table=table), params)
            return cursor.fetchone()


class DelayedMessageQuerySet(ExpiringQuerySet):
    def next_due(self, now):
        """Return when the next message is due, or None if there is none."""
        return self.live(now).aggregate(next=models.Min("due"))["next"]

    def take(self, now, most):
        """
        Remove up to `most` messages that are due. Return them in their order, which
        whoever calls this at the same time waits for, to keep it.
        """
        due = self.live(now).filter(due__lte=now).order_by("due", "id")
        keys = list(due.values_list("pk", flat=True)[:most])
        rows = self.filter(pk__in=keys).order_by("due", "id")
        if connections[self.db].features.has_select_for_update:
            rows = rows.select_for_update()
        # Of all who have read a row, one deletes it.
        return [row for row in rows if self.filter(pk=row.pk).drop()]


class MemberQuerySet(ExpiringQuerySet):
    def join(self, group, inbox, channels, now, deadline):
        """Add members, and give all of `inbox` the deadline."""
        with transaction.atomic(using=self.db):
            present = self.filter(group=group, inbox=inbox)
            present.expired(now).drop()
            present.update(deadline=deadline)
            missing = set(channels) - set(present.values_list("channel", flat=True))
            self.add(
                [
                    Member(group=group, inbox=inbox, channel=name, deadline=deadline)
                    for name in missing
                ]
            )


class AnnouncementQuerySet(ExpiringQuerySet):
    def announce(self, name, info, deadline):
        """Put `info` in the place of what has been announced under `name`."""
        with transaction.atomic(using=self.db):
            if not self.filter(name=name).update(info=info, deadline=deadline):
                self.add([Announcement(name=name, info=info, deadline=deadline)])


class Expiring(models.Model):
    deadline = models.BigIntegerField(db_index=True)

    class Meta:
        abstract = True
        app_label = "django_channels"
        default_permissions = ()


class Message(Expiring):
    """An unread message."""

    id = models.BigAutoField(primary_key=True)
    queue = NameField()
    envelope = models.TextField()

    objects = MessageQuerySet.as_manager()

    class Meta(Expiring.Meta):
        indexes = [models.Index(fields=["queue", "id"], name="channels_message_queue")]


class DelayedMessage(Expiring):
    """A message that becomes a Message when it is due."""

    id = models.BigAutoField(primary_key=True)
    queue = NameField()
    envelope = models.TextField()
    due = models.BigIntegerField(db_index=True)

    objects = DelayedMessageQuerySet.as_manager()

    class Meta(Expiring.Meta):
        indexes = [models.Index(fields=["queue"], name="channels_delayed_queue")]


class Member(Expiring):
    """A channel that is in a group."""

    id = models.BigAutoField(primary_key=True)
    group = NameField()
    inbox = NameField()
    channel = NameField()

    objects = MemberQuerySet.as_manager()

    class Meta(Expiring.Meta):
        constraints = [
            models.UniqueConstraint(
                fields=["group", "inbox", "channel"], name="channels_member_once"
            )
        ]


class Announcement(Expiring):
    """What a process tells of itself, as JSON text."""

    name = NameField(primary_key=True)
    info = models.TextField()

    objects = AnnouncementQuerySet.as_manager()
