"""Layers: from a compressed stream to a directory overlayfs can stack, and back to a tar stream."""
