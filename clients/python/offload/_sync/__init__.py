"""The client without `await`, made of `_async` by `make client`."""
