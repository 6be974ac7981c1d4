"""The pages of the demo. Each but the first is for people who are signed in."""
