"""The benchmark of Backlane, which `backlane bench` runs in a checkout."""
