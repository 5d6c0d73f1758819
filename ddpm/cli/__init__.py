"""One file per command: validate, build, call, write."""
