"""The Django project of the peers, as `startproject` makes one."""
