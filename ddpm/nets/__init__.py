"""Networks: torch modules, forward(x_t, t, ...) -> a tensor shaped like x_t. They know no schedule and no config."""
