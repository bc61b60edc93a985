from django.db import models


class Stats(models.Model):
    """How often one address has viewed the page."""

    ip_address = models.GenericIPAddressField("IP address", unique=True)
    count = models.PositiveBigIntegerField("views", default=0)
    last_view = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["-count"]
        verbose_name_plural = "stats"

    def __str__(self):
        return self.ip_address
