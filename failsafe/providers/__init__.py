"""One dialect a file: each builds a request and reads an answer; none does I/O or keeps state."""
