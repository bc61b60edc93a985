from django.db import models


class Stats(models.Model):
    ip_address = models.GenericIPAddressField()
    count = models.IntegerField(default=0)
