"""Where mathematics, networks and data meet; configuration stops in `build`."""
