import uuid

from django.db import models
from django.dispatch import Signal


class Stats(models.Model):
    ip_address = models.GenericIPAddressField()
    count = models.IntegerField(default=0)


class Signup(models.Model):
    email = models.EmailField()


class LateSignup(Signup):
    class Meta:
        proxy = True


class Place(models.Model):
    name = models.CharField(max_length=50)


class Restaurant(Place):
    # Its primary key is not that of the place.
    number = models.AutoField(primary_key=True)
    place = models.OneToOneField(Place, models.CASCADE, parent_link=True)
    stars = models.IntegerField(default=0)


class Paper(models.Model):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4)

    class Meta:
        abstract = True


class Letter(Paper):
    pass


class ExpressLetter(Letter):
    pass


class Seat(models.Model):
    pk = models.CompositePrimaryKey("hall", "number")
    hall = models.UUIDField()
    number = models.IntegerField()


class Topic(models.Model):
    name = models.CharField(max_length=50)


class Article(models.Model):
    topics = models.ManyToManyField(Topic, related_name="articles")


order_paid = Signal()


class Order(models.Model):
    total = models.IntegerField(default=0)


class Photo(models.Model):
    image = models.FileField(upload_to="photos")
    thumbnail = models.FileField(upload_to="thumbnails", blank=True)
