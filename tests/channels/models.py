from django.db import models


class Stats(models.Model):
    ip_address = models.GenericIPAddressField()
    count = models.IntegerField(default=0)


class Signup(models.Model):
    email = models.EmailField()
