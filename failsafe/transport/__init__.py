"""The one seam to the network: a request goes in; an answer or a failure comes out, by the deadline."""
