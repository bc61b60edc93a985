from django import forms

from .models import Line


class LineForm(forms.Form):
    """Checks what a page wants to say."""

    text = forms.CharField(max_length=Line._meta.get_field("text").max_length)
    key = forms.UUIDField()


class AfterForm(forms.Form):
    """Checks which line a page has seen last."""

    after = forms.IntegerField(min_value=0)
