"""The Ray cluster: start or join one, allocate its resources to trials, share files among its machines."""
