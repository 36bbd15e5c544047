"""Runs the real product to measure it (`lab.bench`) and to kill it (`lab.faults`).

`product` starts single parts of it, `up` runs `clarion up`. `sink` receives the messages, `load` and `h2load`
send the calls, `report` has what all reports share. Tests may import the lab; the lab never imports tests, so
that it runs without pytest.
"""
