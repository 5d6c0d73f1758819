"""Drawing: arrays in, pictures out. No torch, no config, no clock: the same arrays give the same bytes."""
