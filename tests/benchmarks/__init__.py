"""What Backlane is measured by: `backlane bench`, from inside a checkout."""
