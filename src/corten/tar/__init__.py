"""Tar streams: reading and writing them, and trees on disk to and from them, as fast as doing it safely can be."""
