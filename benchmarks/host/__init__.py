"""Themis' own project, with the views beside it that a poll is compared with."""
