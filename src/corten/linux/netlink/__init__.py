"""Netlink as this engine uses it: one module per family, sockets opened per operation.

``message`` packs and exchanges; ``route`` is rtnetlink(7); ``nftables`` sets map elements; ``conntrack`` forgets flows;
``libnftables`` loads whole rule sets. A socket belongs to the network namespace of the thread that opened it.
"""
