"""The HTTP API: a mailbox's state, lists, writes and preferences; JSON in and out."""
