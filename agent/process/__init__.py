"""One process among others: its loop, signals, descriptors, ports and service manager.

What any program of this kind needs from the machine. No file here knows a tunnel.
"""
