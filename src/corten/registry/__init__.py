"""The distribution-spec client: endpoints, authentication, manifests, blobs, uploads. Knows nothing of storage."""
