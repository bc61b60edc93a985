from django.channels import publish_model_events
from django.db import models


@publish_model_events(signals=["post_save"])
class Signup(models.Model):
    """Somebody who comes to the feast."""

    name = models.CharField(max_length=50)
    email = models.EmailField(
        "e-mail address", unique=True, help_text="Nobody else gets to see it."
    )
    time = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["pk"]
        verbose_name = "sign-up"

    def __str__(self):
        return self.name

    def describe(self):
        """Return what pages are told of the sign-up."""
        return {"id": self.pk, "name": self.name}
