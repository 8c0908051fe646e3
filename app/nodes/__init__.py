"""This process among others that share its records: who lives, who waits, who keeps house."""
