"""The API's JSON as text for people: pure functions, one module for each kind of answer.

They take what `bgpbridge.view` gives, in JSON, and return lines. Colour is put in here; click takes it out again
where the output is no terminal. Times come in as Unix seconds, with the present as `now`.
"""
