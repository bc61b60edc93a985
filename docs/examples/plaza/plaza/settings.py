"""
Settings of the plaza, for development on one machine.

Channels need no setting: messages stay in memory, and a thread of the server
runs the consumers. Environment variables choose otherwise:

* PLAZA_REDIS is the URL of a Redis server for messages to go through, such as
  redis://127.0.0.1:6379/0.
* PLAZA_LAYER is "memory", "serialize", "database" or "redis", for tests.
* PLAZA_DATABASE is the SQLite database, db.sqlite3 beside manage.py if not given.
"""

import os
from pathlib import Path

BASE_DIR = Path(__file__).resolve().parent.parent

# For development only: in production both lines are read from elsewhere.
SECRET_KEY = "development-only-key-of-the-plaza-which-everybody-can-read"
DEBUG = True

ALLOWED_HOSTS = ["127.0.0.1", "localhost", "[::1]"]

ROOT_URLCONF = "plaza.urls"
WSGI_APPLICATION = "plaza.wsgi.application"

INSTALLED_APPS = [
    "plaza",
    "visits",
    "chat",
    "signups",
    "status",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.humanize",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]

DATABASE = Path(os.environ.get("PLAZA_DATABASE") or BASE_DIR / "db.sqlite3")

DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": DATABASE,
        # Requests and consumers write from several threads: each waits for its
        # turn when its transaction begins, for this many seconds at most.
        "OPTIONS": {"transaction_mode": "IMMEDIATE", "timeout": 20},
        # A file as well, for in a database in memory threads do not wait.
        "TEST": {"NAME": DATABASE.with_name(f"test-{DATABASE.name}")},
    }
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

MEMORY = "django.channels.backends.memory.MemoryBackend"
LAYERS = {
    "memory": {"BACKEND": MEMORY},
    "serialize": {"BACKEND": MEMORY, "OPTIONS": {"SERIALIZE": True}},
    "database": {"BACKEND": "django.channels.backends.database.DatabaseBackend"},
    "redis": {
        "BACKEND": "django.channels.backends.redis.RedisBackend",
        "LOCATION": os.environ.get("PLAZA_REDIS") or "redis://127.0.0.1:6379/0",
    },
}
LAYER = "redis" if os.environ.get("PLAZA_REDIS") else "memory"
LAYER = os.environ.get("PLAZA_LAYER") or LAYER

CHANNELS = {"default": LAYERS[LAYER]}
if LAYER == "database":
    # Its tables.
    INSTALLED_APPS.append("django.channels")

LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "chat:lobby"
LOGOUT_REDIRECT_URL = "visits:home"

TIME_ZONE = "UTC"

STATIC_URL = "static/"
STATICFILES_DIRS = [BASE_DIR / "static"]
