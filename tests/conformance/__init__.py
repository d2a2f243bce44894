"""What Backlane promises, asked for through a channel alone."""
