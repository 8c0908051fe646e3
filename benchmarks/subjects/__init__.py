"""The kinds of work of case `second-design`: each says who does it, and lets them."""
