"""Django with its own login, and the middleware of a new project.

PEER_SESSION_ENGINE names the module of its sessions. PEER_DATABASE is a file of SQLite, with the
user whom Django reads in each request. Connections to it stay open.
"""

import os
import secrets

import django
from django.conf import settings

settings.configure(
    SECRET_KEY=secrets.token_hex(32),
    ALLOWED_HOSTS=["127.0.0.1"],
    ROOT_URLCONF=__name__,
    SESSION_ENGINE=os.environ["PEER_SESSION_ENGINE"],
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": os.environ["PEER_DATABASE"],
            "CONN_MAX_AGE": None,
        }
    },
    INSTALLED_APPS=[
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "django.contrib.sessions",
        "django.contrib.messages",
    ],
    MIDDLEWARE=[
        "django.middleware.security.SecurityMiddleware",
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.common.CommonMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "django.contrib.messages.middleware.MessageMiddleware",
        "django.middleware.clickjacking.XFrameOptionsMiddleware",
    ],
)
django.setup()

from django.contrib.auth import login, logout
from django.contrib.auth.models import User
from django.core.management import call_command
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt

call_command("migrate", verbosity=0)
user = User.objects.create_user("peer")


@csrf_exempt  # type: ignore[untyped-decorator] # the client of the benchmark is no browser
def log_in(request: HttpRequest) -> HttpResponse:
    """Begin the session of the one user."""
    login(request, user)
    return HttpResponse(status=204)


@csrf_exempt  # type: ignore[untyped-decorator]
def log_out(request: HttpRequest) -> HttpResponse:
    """End the session."""
    logout(request)
    return HttpResponse(status=204)


def me(request: HttpRequest) -> HttpResponse:
    """Return the user's id."""
    if not request.user.is_authenticated:
        return HttpResponse(status=401)
    return JsonResponse({"user_id": request.user.id})


urlpatterns = [path("login", log_in), path("logout", log_out), path("me", me)]
app = get_wsgi_application()
