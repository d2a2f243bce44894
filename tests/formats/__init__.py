"""Data directories of each format that was ever released, kept so that they can still be opened."""
