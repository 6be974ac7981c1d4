"""Accounts whose keys are text of a kind, in a table of another name, who sign in by
e-mail.
"""

from typing import Any, ClassVar

from django.conf import settings as django_settings
from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.contrib.auth.models import PermissionsMixin
from django.db import models

settings: Any = django_settings  # with what this host alone has


class CodeField(models.CharField):  # type: ignore[type-arg]
    """A text that the tables hold without what all have in common."""

    prefix = settings.KEY_PREFIX

    def from_db_value(self, value: Any, *_: object) -> Any:
        return None if value is None else self.prefix + value

    def get_prep_value(self, value: Any) -> Any:
        value = super().get_prep_value(value)
        return None if value is None else value.removeprefix(self.prefix)


class MemberManager(BaseUserManager["Member"]):
    pass


class Member(AbstractBaseUser, PermissionsMixin):
    code = CodeField(
        max_length=150, primary_key=True, db_collation=settings.KEY_COLLATION
    )
    email = models.EmailField(unique=True)
    is_staff = models.BooleanField(default=False)
    is_active = models.BooleanField(default=True)

    USERNAME_FIELD = "email"

    objects: ClassVar = MemberManager()

    class Meta:
        db_table = "crm members"

    def __str__(self) -> str:
        return self.email
