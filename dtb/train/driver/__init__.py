"""What the driver of a training does beside it: room for the workers, waits, clocks, failures, and what is said of them."""
