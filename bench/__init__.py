"""Measures the gateway's speed against floors measured on the same machine in the same run.

`make bench`, or `python -m bench`. The server under test has one core to itself, the load and the
upstream share the other.
"""
