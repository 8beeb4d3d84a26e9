"""Events on their way from a call to whoever wants to know."""
