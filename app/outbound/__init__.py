"""All that leaves the house, by one door: every address that is dialled was judged first."""
