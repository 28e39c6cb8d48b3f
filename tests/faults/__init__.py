"""Every call of a client under every fault of its store and of the network between them."""
