import uuid
from unittest import mock

from django.apps import apps
from django.channels import (
    BackendUnavailable,
    Channel,
    channels,
    consumer,
    fan_out,
    publish_app_events,
    publish_model_events,
)
from django.channels.registry import registry
from django.core import serializers
from django.core.exceptions import ImproperlyConfigured
from django.db import models, transaction
from django.db.migrations.state import ProjectState
from django.db.models.signals import m2m_changed, post_delete, post_save
from django.test import (
    SimpleTestCase,
    TestCase,
    TransactionTestCase,
    override_settings,
)
from django.test.utils import isolate_apps

from .layers import layer, without_threads
from .models import (
    Article,
    ExpressLetter,
    LateSignup,
    Letter,
    Order,
    Paper,
    Place,
    Restaurant,
    Seat,
    Signup,
    Stats,
    Topic,
    order_paid,
)
from .opted_in import isolated_events, published_models

LOGGER = "django.channels.events"


class EventTests:
    """Consumers that are registered, and messages that wait for them."""

    available_apps = ["channels"]
    databases = {"default", "other"}

    def setUp(self):
        self.enterContext(override_settings(CHANNELS=layer("default", "other")))
        self.enterContext(without_threads)
        self.enterContext(registry.isolate())
        self.enterContext(published_models())
        for backend in channels.all():
            backend.flush()

    def listen(self, *names, backend="default"):
        consumer(*names, backend=backend)(lambda **message: None)

    def received(self, *names, backend="default"):
        """Return the messages that wait on these channels."""
        messages = []
        while received := channels[backend].receive([*names]):
            messages.append(received[1])
        return messages


class CommitTests(EventTests, TransactionTestCase):
    CREATED = "channels.models.signup.post_save"

    def setUp(self):
        super().setUp()
        self.listen(self.CREATED)

    def test_is_sent_at_once_without_a_transaction(self):
        signup = Signup.objects.create(email="a@example.com")
        expected = {
            "app_label": "channels",
            "model_name": "signup",
            "pk": signup.pk,
            "using": "default",
            "created": True,
        }
        self.assertEqual(self.received(self.CREATED), [expected])

    def test_is_sent_after_the_commit(self):
        with transaction.atomic():
            Signup.objects.create(email="a@example.com")
            with transaction.atomic():
                Signup.objects.create(email="b@example.com")
            self.assertEqual(self.received(self.CREATED), [])
        self.assertEqual(len(self.received(self.CREATED)), 2)

    def test_is_dropped_on_rollback(self):
        with self.assertRaises(KeyError), transaction.atomic():
            Signup.objects.create(email="a@example.com")
            raise KeyError
        self.assertEqual(self.received(self.CREATED), [])

    def test_is_dropped_with_its_savepoint(self):
        with transaction.atomic():
            kept = Signup.objects.create(email="a@example.com")
            with self.assertRaises(KeyError), transaction.atomic():
                Signup.objects.create(email="b@example.com")
                raise KeyError
        (event,) = self.received(self.CREATED)
        self.assertEqual(event["pk"], kept.pk)

    def test_goes_with_the_database_of_the_row(self):
        with transaction.atomic(using="default"):
            Signup.objects.using("other").create(email="a@example.com")
            (event,) = self.received(self.CREATED)
        self.assertEqual(event["using"], "other")
        with transaction.atomic(using="other"):
            Signup.objects.using("other").create(email="b@example.com")
            self.assertEqual(self.received(self.CREATED), [])
        self.assertEqual(len(self.received(self.CREATED)), 1)

    def test_a_full_channel_does_not_break_the_save(self):
        with self.settings(CHANNELS=layer(CAPACITY=1)):
            Signup.objects.create(email="a@example.com")
            with self.assertLogs(LOGGER, "ERROR") as logs, transaction.atomic():
                lost = Signup.objects.create(email="b@example.com")
        self.assertTrue(Signup.objects.filter(pk=lost.pk).exists())
        self.assertIn(
            f"The event of the row {lost.pk} on {self.CREATED!r} is lost: ",
            logs.output[0],
        )

    def test_a_store_that_is_away_does_not_break_the_save(self):
        away = mock.patch.object(
            channels["default"], "send", side_effect=BackendUnavailable("It is away.")
        )
        with away, self.assertLogs(LOGGER, "ERROR") as logs:
            Signup.objects.create(email="a@example.com")
        self.assertEqual(Signup.objects.count(), 1)
        self.assertIn("is lost: It is away.", logs.output[0])

    def test_a_fault_in_sending_does_not_break_the_save(self):
        fault = mock.patch.object(channels["default"], "send", side_effect=RuntimeError)
        with fault, self.assertLogs("django.db.backends.base", "ERROR"):
            Signup.objects.create(email="a@example.com")
        self.assertEqual(Signup.objects.count(), 1)


class ModelEventTests(EventTests, TestCase):
    def events_of(self, signal, *, model, do, using="default"):
        """Return the events of this signal of `model` that calling `do` sends."""
        name = f"channels.models.{model}.{signal}"
        with registry.isolate():
            self.listen(name)
            with self.captureOnCommitCallbacks(using=using, execute=True):
                do()
            return self.received(name)

    def test_updated_row(self):
        signup = Signup.objects.create(email="a@example.com")
        (event,) = self.events_of("post_save", model="signup", do=signup.save)
        self.assertIs(event["created"], False)

    def test_deleted_row(self):
        signup = Signup.objects.create(email="a@example.com")
        pk = signup.pk
        expected = {
            "app_label": "channels",
            "model_name": "signup",
            "pk": pk,
            "using": "default",
        }
        events = self.events_of("post_delete", model="signup", do=signup.delete)
        self.assertIsNone(signup.pk)
        self.assertEqual(events, [expected])

    def test_deferred_fields(self):
        Restaurant.objects.create(name="a")
        place = Restaurant.objects.only("stars").get()
        (event,) = self.events_of("post_save", model="place", do=place.save)
        self.assertEqual(event["pk"], place.place_id)

    def test_nothing_is_sent_if_no_consumer_listens(self):
        with self.captureOnCommitCallbacks() as callbacks:
            Signup.objects.create(email="a@example.com")
        self.assertEqual(callbacks, [])
        self.assertEqual(channels["default"].depths(), {})

    def test_proxy(self):
        """What is done by a proxy is done to the rows of its model."""
        signup = LateSignup(email="a@example.com")
        (saved,) = self.events_of("post_save", model="signup", do=signup.save)
        self.assertEqual((saved["model_name"], saved["pk"]), ("signup", signup.pk))
        (deleted,) = self.events_of("post_delete", model="signup", do=signup.delete)
        self.assertEqual(deleted, {**deleted, "model_name": "signup"})

    def test_proxy_that_was_not_opted_in(self):
        signup = LateSignup(email="a@example.com")
        events = self.events_of("post_save", model="latesignup", do=signup.save)
        self.assertEqual(events, [])

    def test_child(self):
        """A child has a row in the table of its parent, with a key of its own."""
        Place.objects.create(name="a")
        restaurant = Restaurant(name="b")
        (saved,) = self.events_of("post_save", model="place", do=restaurant.save)
        self.assertNotEqual(restaurant.place_id, restaurant.pk)
        self.assertEqual(saved["pk"], restaurant.place_id)
        self.assertEqual(saved["model_name"], "place")

    def test_child_that_is_deleted(self):
        restaurant = Restaurant.objects.create(name="a")
        pk = restaurant.place_id
        (event,) = self.events_of("post_delete", model="place", do=restaurant.delete)
        self.assertEqual(event["pk"], pk)

    def test_child_that_is_deleted_without_its_parent(self):
        restaurant = Restaurant.objects.create(name="a")
        events = self.events_of(
            "post_delete",
            model="place",
            do=lambda: restaurant.delete(keep_parents=True),
        )
        self.assertEqual(events, [])

    def test_abstract_model(self):
        """The models derived from it are opted in, each by its own name."""
        letter, express = Letter(), ExpressLetter()
        (event,) = self.events_of("post_save", model="letter", do=letter.save)
        self.assertEqual(event["pk"], str(letter.pk))
        for model in ["letter", "expressletter"]:
            with self.subTest(model=model):
                (event,) = self.events_of("post_save", model=model, do=express.save)
                self.assertEqual(event["model_name"], model)

    def test_uuid_as_primary_key(self):
        letter = Letter()
        (event,) = self.events_of("post_save", model="letter", do=letter.save)
        self.assertIsInstance(event["pk"], str)
        self.assertEqual(Letter.objects.get(pk=event["pk"]), letter)

    def test_composite_primary_key(self):
        seat = Seat(hall=uuid.uuid4(), number=7)
        (event,) = self.events_of("post_save", model="seat", do=seat.save)
        self.assertEqual(event["pk"], [str(seat.hall), 7])
        self.assertEqual(Seat.objects.get(pk=event["pk"]), seat)

    def load_fixture(self, instance):
        (loaded,) = serializers.deserialize(
            "json", serializers.serialize("json", [instance])
        )
        return loaded.save

    def test_fixtures(self):
        load = self.load_fixture(Signup(pk=7, email="a@example.com"))
        self.assertEqual(self.events_of("post_save", model="signup", do=load), [])
        self.assertEqual(Signup.objects.get().pk, 7)

    def test_fixtures_on_request(self):
        load = self.load_fixture(Order(pk=7))
        (event,) = self.events_of("post_save", model="order", do=load)
        self.assertEqual(event["pk"], 7)

    def test_custom_signal(self):
        order = Order.objects.create()
        (event,) = self.events_of(
            "paid",
            model="order",
            do=lambda: order_paid.send(Order, instance=order, amount=object()),
        )
        expected = {
            "app_label": "channels",
            "model_name": "order",
            "pk": order.pk,
            "using": "default",
        }
        self.assertEqual(event, expected)

    def test_custom_signal_of_a_row_of_another_database(self):
        order = Order.objects.using("other").create()
        (event,) = self.events_of(
            "paid",
            model="order",
            do=lambda: order_paid.send(Order, instance=order),
            using="other",
        )
        self.assertEqual(event["using"], "other")


class ManyToManyEventTests(EventTests, TestCase):
    def setUp(self):
        super().setUp()
        self.article = Article.objects.create()
        self.topics = [Topic.objects.create(name=name) for name in "abc"]
        self.listen("channels.models.article.m2m_changed")

    def events_of(self, do, *args, **kwargs):
        with self.captureOnCommitCallbacks(execute=True):
            do(*args, **kwargs)
        return self.received("channels.models.article.m2m_changed")

    def expected(self, **more):
        return {
            "app_label": "channels",
            "model_name": "article",
            "pk": self.article.pk,
            "using": "default",
            "field": "topics",
            "reverse": False,
            **more,
        }

    def test_added(self):
        (event,) = self.events_of(self.article.topics.add, *self.topics)
        event["pks"].sort()
        pks = [topic.pk for topic in self.topics]
        self.assertEqual(event, self.expected(action="post_add", pks=pks))

    def test_nothing_added(self):
        self.article.topics.add(self.topics[0])
        self.assertEqual(self.events_of(self.article.topics.add, self.topics[0]), [])

    def test_removed(self):
        topic = self.topics[0]
        self.article.topics.add(topic)
        self.assertEqual(
            self.events_of(self.article.topics.remove, topic),
            [self.expected(action="post_remove", pks=[topic.pk])],
        )

    def test_cleared(self):
        self.article.topics.add(*self.topics)
        self.assertEqual(
            self.events_of(self.article.topics.clear),
            [self.expected(action="post_clear", pks=None)],
        )

    def test_changed_from_the_other_side(self):
        """The row is the one whose relation was changed, as with the signal."""
        topic = self.topics[0]
        expected = self.expected(
            model_name="topic",
            pk=topic.pk,
            action="post_add",
            reverse=True,
            pks=[self.article.pk],
        )
        self.assertEqual(self.events_of(topic.articles.add, self.article), [expected])

    def test_other_signals_were_not_opted_in(self):
        for signal in [post_save, post_delete]:
            self.assertFalse(signal.has_listeners(Article))


class OptInTests(EventTests, SimpleTestCase):
    databases = set()

    def publishes(self, signal, model):
        return any(
            isinstance(key[0], tuple) and key[0][0] == "django.channels.events"
            for key, *_ in signal.receivers
            if key[1] == id(model)
        )

    def test_tests_leave_nothing_behind(self):
        before = len(post_save.receivers)
        with isolated_events():
            publish_model_events(Stats)
            self.assertTrue(post_save.has_listeners(Stats))
        self.assertEqual(len(post_save.receivers), before)
        self.assertFalse(post_save.has_listeners(Stats))

    def test_models_that_were_not_opted_in_cost_nothing(self):
        for signal in [post_save, post_delete, m2m_changed]:
            self.assertFalse(signal.has_listeners(Stats))

    def test_models_of_migrations(self):
        historical = ProjectState.from_apps(apps).apps.get_model("channels", "letter")
        self.assertTrue(self.publishes(post_save, Letter))
        self.assertFalse(self.publishes(post_save, historical))

    @isolate_apps("channels")
    def test_models_of_migrations_with_an_abstract_base(self):
        class Historical(Paper):
            pass

        self.assertFalse(self.publishes(post_save, Historical))

    def test_opting_in_twice_is_opting_in_once(self):
        def count():
            return len(post_save._live_receivers(Signup)[0])

        before = count()
        self.assertIs(publish_model_events(Signup), Signup)
        self.assertEqual(count(), before)

    @isolate_apps("channels")
    def test_model_that_is_derived_later(self):
        @publish_model_events
        class Base(models.Model):
            class Meta:
                abstract = True

        class First(Base):
            pass

        class Proxy(First):
            class Meta:
                proxy = True

        for model in [First, Proxy]:
            self.assertTrue(self.publishes(post_save, model))
        self.assertFalse(self.publishes(m2m_changed, First))

    @isolate_apps("channels")
    def test_through_model_that_is_defined_later(self):
        @publish_model_events(signals=["m2m_changed"])
        class Source(models.Model):
            targets = models.ManyToManyField("self", through="Later")

        class Later(models.Model):
            first = models.ForeignKey(Source, models.CASCADE, related_name="+")
            second = models.ForeignKey(Source, models.CASCADE, related_name="+")

        self.assertTrue(self.publishes(m2m_changed, Later))

    @isolate_apps("channels")
    def test_model_that_is_derived_before(self):
        class Base(models.Model):
            class Meta:
                abstract = True

        class First(Base):
            pass

        class Second(First):
            pass

        publish_model_events(Base)
        for model in [First, Second]:
            self.assertTrue(self.publishes(post_save, model))

    @isolate_apps("channels")
    def test_backend(self):
        @publish_model_events(backend="other")
        class Row(models.Model):
            pass

        name = "channels.models.row.post_save"
        self.listen(name, backend="other")
        with mock.patch("django.channels.events.transaction.on_commit") as on_commit:
            post_save.send(Row, instance=Row(pk=7), created=True, using="default")
        send = on_commit.call_args.args[0]
        send()
        self.assertEqual(channels["default"].depths(), {})
        (event,) = self.received(name, backend="other")
        self.assertEqual(event["pk"], 7)

    @isolate_apps("channels", kwarg_name="isolated")
    def test_whole_app(self, isolated):
        class One(models.Model):
            pass

        class Two(models.Model):
            pass

        with mock.patch("django.channels.events.apps", isolated):
            publish_app_events("channels", signals=["post_delete"])
        for model in [One, Two]:
            self.assertTrue(self.publishes(post_delete, model))
            self.assertFalse(self.publishes(post_save, model))

    def test_unknown_app(self):
        with self.assertRaisesMessage(LookupError, "No installed app with label 'no'"):
            publish_app_events("no")

    def test_unknown_signal(self):
        msg = (
            "'pre_save' is no signal that models publish. Use a list out of "
            "'post_save', 'post_delete', 'm2m_changed'"
        )
        with self.assertRaisesMessage(ImproperlyConfigured, msg):
            publish_model_events(Stats, signals=["post_save", "pre_save"])
        self.assertFalse(post_save.has_listeners(Stats))

    @isolate_apps("channels")
    def test_unknown_signal_of_an_abstract_model(self):
        with self.assertRaisesMessage(ImproperlyConfigured, "'pre_save' is no signal"):

            @publish_model_events(signals=["pre_save"])
            class Base(models.Model):
                class Meta:
                    abstract = True

    def test_no_model(self):
        msg = "publish_model_events() needs a class of a model, not 'Signup'."
        with self.assertRaisesMessage(ImproperlyConfigured, msg):
            publish_model_events("Signup")

    @isolate_apps("channels")
    @override_settings(TEST_SWAPPED_MODEL="channels.Stats")
    def test_swapped_model(self):
        class Swapped(models.Model):
            class Meta:
                swappable = "TEST_SWAPPED_MODEL"

        msg = (
            "channels.Swapped is swapped out, so nothing happens to it. Publish the "
            "events of channels.Stats."
        )
        with self.assertRaisesMessage(ImproperlyConfigured, msg):
            publish_model_events(Swapped)


class FanOutTests(EventTests, SimpleTestCase):
    databases = set()
    SOURCE = "channels.models.signup.post_save"

    def send(self, message):
        registry.get(self.SOURCE)(self.SOURCE, message)

    def test_each_channel_gets_the_message(self):
        fan_out(self.SOURCE, "tests.mail", "tests.stats")
        self.send({"pk": 7})
        for name in ["tests.mail", "tests.stats"]:
            self.assertEqual(self.received(name), [{"pk": 7}])

    def test_channels_of_another_backend(self):
        fan_out(self.SOURCE, "tests.mail", Channel("tests.work", backend="other"))
        self.send({"pk": 7})
        self.assertEqual(self.received("tests.mail"), [{"pk": 7}])
        self.assertEqual(self.received("tests.work", backend="other"), [{"pk": 7}])

    def test_one_that_is_full_is_logged_and_others_get_it(self):
        with self.settings(CHANNELS=layer(CAPACITY=1)):
            fan_out(self.SOURCE, "tests.full", "tests.stats")
            Channel("tests.full").send({})
            with self.assertLogs("django.channels.worker", "ERROR") as logs:
                self.send({"pk": 7})
            self.assertEqual(self.received("tests.stats"), [{"pk": 7}])
        self.assertIn(
            f"A message on {self.SOURCE!r} was not sent on to 'tests.full': ",
            logs.output[0],
        )

    def test_a_backend_that_is_missing_is_logged_and_others_get_it(self):
        fan_out(self.SOURCE, Channel("tests.mail", backend="missing"), "tests.stats")
        with self.assertLogs("django.channels.worker", "ERROR"):
            self.send({"pk": 7})
        self.assertEqual(self.received("tests.stats"), [{"pk": 7}])

    def test_is_the_one_consumer_of_its_channel(self):
        fan_out(self.SOURCE, "tests.mail", "tests.stats")
        msg = f"{self.SOURCE!r} has the consumer fan_out to tests.mail, tests.stats, so"
        with self.assertRaisesMessage(ImproperlyConfigured, msg):
            self.listen(self.SOURCE)

    def test_needs_other_channels(self):
        for targets in [(), ("tests.mail", self.SOURCE)]:
            with (
                self.subTest(targets=targets),
                self.assertRaisesMessage(
                    ImproperlyConfigured, f"fan_out() of {self.SOURCE!r} needs"
                ),
            ):
                fan_out(self.SOURCE, *targets)
        self.assertIsNone(registry.get(self.SOURCE))
