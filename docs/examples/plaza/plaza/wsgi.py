"""The WSGI application of the plaza, for any WSGI server."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "plaza.settings")

application = get_wsgi_application()
