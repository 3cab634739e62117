"""What the volume API gateway adds, as commands of `openstack`."""
