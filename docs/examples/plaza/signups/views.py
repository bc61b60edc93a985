from django.contrib import messages
from django.forms import EmailInput, TextInput, modelform_factory
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache

from .models import Signup

SignupForm = modelform_factory(
    Signup,
    fields=["name", "email"],
    widgets={
        "name": TextInput({"autocomplete": "name"}),
        "email": EmailInput({"autocomplete": "email"}),
    },
)

# Sign-ups that a page begins with.
SHOWN = 20


@never_cache
def home(request):
    """Sign somebody up, and list who has. The others are told by consumers."""
    form = SignupForm(request.POST or None)
    if form.is_valid():
        form.save()
        messages.success(request, f"See you there, {form.instance.name}!")
        return redirect("signups:home")
    signups = Signup.objects.order_by("-pk")
    context = {"form": form, "signups": signups[:SHOWN], "total": signups.count()}
    return render(request, "signups/home.html", context)
