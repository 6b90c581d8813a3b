"""Search methods compared on recorded learning curves, in virtual time."""
