"""The page itself: HTML, styles and scripts, which are copied beside the data."""
