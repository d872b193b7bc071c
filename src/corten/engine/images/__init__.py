"""Images: the service and its use cases, glued from the content store, the snapshotter and the registry client."""
