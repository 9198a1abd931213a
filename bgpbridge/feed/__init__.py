"""Ways in: what a speaker hands to the bridge, and what the bridge may ask of it.

`frames` are the records, `lane` the rings in shared memory that carry them, `reader` the bridge's end of
the rings with the order in which lanes are served, `control` the commands that go the other way, `peers`
the stable numbers of peers. Nothing here knows ExaBGP; `speaker` does.
"""
