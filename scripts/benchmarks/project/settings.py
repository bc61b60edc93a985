"""
Settings like those that startproject writes, but for production.

Environment: BENCH_MIDDLEWARE, startproject's middleware if it is not empty;
BENCH_SERIALIZE, requests and responses that cross as text if it is not empty;
BENCH_PAYLOAD, the file that the site serves; BENCH_CHANNELS and BENCH_DATABASE,
the default channel layer and database as JSON; BENCH_APP, the app with consumers;
BENCH_LIMITS, the setting CHANNELS_LIMITS as JSON.
"""

import json
import os

SECRET_KEY = "only-for-benchmarks"
ALLOWED_HOSTS = ["127.0.0.1"]
ROOT_URLCONF = "benchmarks.project.urls"
DATABASES = {
    "default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"},
}
INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
]
STATIC_URL = "static/"
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
if not os.environ.get("BENCH_MIDDLEWARE"):
    MIDDLEWARE = []

if os.environ.get("BENCH_SERIALIZE"):
    CHANNELS = {
        "default": {
            "BACKEND": "django.channels.backends.memory.MemoryBackend",
            "OPTIONS": {"SERIALIZE": True},
        }
    }

if os.environ.get("BENCH_CHANNELS"):
    CHANNELS = {"default": json.loads(os.environ["BENCH_CHANNELS"])}
    INSTALLED_APPS += ["django.channels"]
    INSTALLED_APPS += [os.environ.get("BENCH_APP", "benchmarks.project")]
    CHANNELS_LIMITS = json.loads(os.environ.get("BENCH_LIMITS", "{}"))

if os.environ.get("BENCH_DATABASE"):
    DATABASES = {"default": json.loads(os.environ["BENCH_DATABASE"])}

PAYLOAD = os.environ.get("BENCH_PAYLOAD")
