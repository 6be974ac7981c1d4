#!/usr/bin/env python
"""Django's command line for the runnable project."""

import os
import sys

from django.core.management import execute_from_command_line

from server.environment import assume_development

if __name__ == "__main__":
    assume_development()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "server.settings")
    execute_from_command_line(sys.argv)
