"""What the scripts share: see the modules."""
