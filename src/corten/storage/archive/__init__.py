"""Reading and writing tar streams, as fast as unpacking safely can be."""
