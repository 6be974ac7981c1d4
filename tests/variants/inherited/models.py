"""Accounts that are people first: their key is a relation."""

from django.contrib.auth.models import AbstractUser
from django.db import models


class Person(models.Model):
    nickname = models.CharField(max_length=50)

    def __str__(self) -> str:
        return self.nickname


class Member(AbstractUser, Person):
    pass
