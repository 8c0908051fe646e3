"""The client over `await`. `_sync/` is made of it by `make client`."""
