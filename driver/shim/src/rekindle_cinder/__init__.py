"""Cinder's RBD driver with the replication hooks of Rekindle: see driver.py."""
