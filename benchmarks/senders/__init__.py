"""Those who notify: a process each, which inserts the row and tells the users."""
