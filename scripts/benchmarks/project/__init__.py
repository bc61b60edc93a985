"""The site that is measured. It runs on both sides of a comparison."""
