"""The mailbox's tables."""

import django.db.models.deletion
import django.utils.timezone
import themis.models
from themis.conf import settings
from django.conf import settings as django_settings
from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies = [
        migrations.swappable_dependency(django_settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="Mailbox",
            fields=[
                (
                    "user",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="+",
                        serialize=False,
                        to=django_settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "epoch",
                    models.CharField(default=themis.models.make_epoch, max_length=22),
                ),
                ("revision", models.BigIntegerField(default=0)),
                ("floor_revision", models.BigIntegerField(default=0)),
                ("next_expiry_at", models.DateTimeField(db_index=True, null=True)),
                ("unread", models.PositiveIntegerField(default=0)),
            ],
            options={
                "verbose_name": "mailbox",
                "verbose_name_plural": "mailboxes",
            },
        ),
        migrations.CreateModel(
            name="Tombstone",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True,
                        primary_key=True,
                        serialize=False,
                        verbose_name="ID",
                    ),
                ),
                ("notification_id", models.BigIntegerField()),
                ("revision", models.BigIntegerField(null=True)),
                (
                    "created_at",
                    models.DateTimeField(
                        db_index=True, default=django.utils.timezone.now
                    ),
                ),
                (
                    "user",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to=django_settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "verbose_name": "deleted notification",
                "verbose_name_plural": "deleted notifications",
                "indexes": [
                    models.Index(fields=["user", "revision"], name="themis_deleted"),
                    models.Index(
                        condition=models.Q(("revision", None)),
                        fields=["user"],
                        name="themis_deleted_pending",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="UserNotification",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("title", models.CharField(max_length=200, verbose_name="title")),
                (
                    "message",
                    models.TextField(
                        blank=True, max_length=4000, verbose_name="message"
                    ),
                ),
                (
                    "level",
                    models.CharField(
                        choices=[
                            ("info", "Info"),
                            ("success", "Success"),
                            ("warning", "Warning"),
                            ("danger", "Danger"),
                        ],
                        default="info",
                        max_length=10,
                        verbose_name="level",
                    ),
                ),
                (
                    "url",
                    models.CharField(blank=True, max_length=2000, verbose_name="URL"),
                ),
                (
                    "source_app",
                    models.CharField(
                        blank=True, max_length=100, verbose_name="source app"
                    ),
                ),
                (
                    "source_model",
                    models.CharField(
                        blank=True, max_length=100, verbose_name="source model"
                    ),
                ),
                (
                    "source_id",
                    models.CharField(
                        blank=True, max_length=200, verbose_name="source id"
                    ),
                ),
                (
                    "created_at",
                    models.DateTimeField(
                        default=django.utils.timezone.now, verbose_name="created"
                    ),
                ),
                (
                    "read_at",
                    models.DateTimeField(blank=True, null=True, verbose_name="read"),
                ),
                (
                    "dismissed_at",
                    models.DateTimeField(
                        blank=True, null=True, verbose_name="dismissed"
                    ),
                ),
                (
                    "expires_at",
                    models.DateTimeField(blank=True, null=True, verbose_name="expires"),
                ),
                ("created_revision", models.BigIntegerField(editable=False, null=True)),
                ("revision", models.BigIntegerField(editable=False, null=True)),
                ("pending", models.BooleanField(default=True, editable=False)),
                ("expiry_stamped", models.BooleanField(default=False, editable=False)),
                ("deduplicate", models.BooleanField(default=False, editable=False)),
                (
                    "dedup_key",
                    models.CharField(editable=False, max_length=64, null=True),
                ),
                (
                    "user",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="themis_notifications",
                        to=django_settings.AUTH_USER_MODEL,
                        verbose_name="user",
                    ),
                ),
            ],
            options={
                "verbose_name": "notification",
                "verbose_name_plural": "notifications",
                "indexes": [
                    models.Index(
                        condition=models.Q(("dismissed_at", None)),
                        fields=["user", "created_revision", "id"],
                        name="themis_listed",
                    ),
                    models.Index(
                        condition=models.Q(("dismissed_at", None), ("read_at", None)),
                        fields=["user", "created_revision", "id", "expires_at"],
                        name="themis_unread",
                    ),
                    models.Index(fields=["user", "revision"], name="themis_changed"),
                    models.Index(
                        condition=models.Q(("pending", True)),
                        fields=["user", "id"],
                        name="themis_pending",
                    ),
                    models.Index(
                        condition=models.Q(
                            ("expires_at__isnull", False), ("expiry_stamped", False)
                        ),
                        fields=["user", "expires_at"],
                        name="themis_expiring",
                    ),
                    models.Index(
                        fields=["source_app", "source_model", "source_id", "user"],
                        name="themis_source",
                    ),
                ],
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(
                            ("dedup_key__isnull", False),
                            ("dismissed_at", None),
                            ("read_at", None),
                        ),
                        fields=("user", "dedup_key"),
                        name="themis_open_dedup_key",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="UserProfile",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True,
                        primary_key=True,
                        serialize=False,
                        verbose_name="ID",
                    ),
                ),
                (
                    "notifications_enabled",
                    models.BooleanField(default=True, verbose_name="notifications"),
                ),
                (
                    "notification_min_level",
                    models.CharField(
                        choices=[
                            ("info", "Info"),
                            ("success", "Success"),
                            ("warning", "Warning"),
                            ("danger", "Danger"),
                        ],
                        default="info",
                        max_length=10,
                        verbose_name="minimum level",
                    ),
                ),
                (
                    "browser_notifications_enabled",
                    models.BooleanField(
                        default=False, verbose_name="desktop notifications"
                    ),
                ),
                (
                    "notification_retention_days",
                    models.PositiveIntegerField(
                        blank=True,
                        help_text="Empty: as long as the site keeps them.",
                        null=True,
                        verbose_name="days to keep what is read",
                    ),
                ),
                ("pending", models.BooleanField(default=False, editable=False)),
                (
                    "user",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name=settings.profile_related_name,
                        to=django_settings.AUTH_USER_MODEL,
                        verbose_name="user",
                    ),
                ),
            ],
            options={
                "verbose_name": "notification profile",
                "verbose_name_plural": "notification profiles",
                "indexes": [
                    models.Index(
                        condition=models.Q(("pending", True)),
                        fields=["user"],
                        name="themis_profile_pending",
                    )
                ],
            },
        ),
    ]
