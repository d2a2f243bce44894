"""A server on a small file system that gets full. Needs root, for the mount."""
