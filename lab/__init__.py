"""Runs the real product to measure it.

`bench` measures it in normal use, `faults` while its processes are killed, `strangers` while it is attacked.

`product` starts single parts of it, `up` runs `clarion up`. `sink` receives the messages, `load` and `h2load`
send the calls, and `report` contains what all reports share. Tests may import the lab; the lab never imports
tests, so that it runs without pytest.
"""
