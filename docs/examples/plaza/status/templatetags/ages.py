from django import template
from django.channels.overview import describe_age

register = template.Library()

# {{ 75|age }} gives "1.3 min".
register.filter("age", describe_age)
