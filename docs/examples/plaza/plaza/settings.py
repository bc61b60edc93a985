"""
Settings of the plaza, for development on one machine.

Channels need no setting: messages stay in memory, and a thread of the server
runs the consumers. The environment variable PLAZA_DATABASE names the SQLite
database, which is db.sqlite3 beside manage.py unless it is given.
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
    "visits",
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

TIME_ZONE = "UTC"

STATIC_URL = "static/"
STATICFILES_DIRS = [BASE_DIR / "static"]
