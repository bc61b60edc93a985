"""The same site on Channels 4, for a comparison with that."""
