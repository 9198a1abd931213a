"""What the bridge shows, as values: one function for each question, read by API, metrics and command line.

Nothing here changes anything. A value is made when it is asked for, from the tables themselves, so what is shown
cannot drift from what is done.
"""
