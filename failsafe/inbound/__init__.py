"""Answers clients that speak a provider's own wire format, whoever the router asks for them."""
