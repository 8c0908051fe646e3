"""HTTP/1.1 below ASGI: what a connection may send, for how long, and how many there may be."""
