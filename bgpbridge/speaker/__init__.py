"""The BGP speaker: ExaBGP 5 as a library in a process of its own, unprivileged.

`render` writes its configuration from ours, `launch` is how a supervisor starts it; these two run in our own
processes and import no ExaBGP. The rest runs in the speaker's: `main` is its entry, `seams` lists where we
are sewn into ExaBGP, `reactor`, `peer`, `protocol`, `connection`, `listener`, `processes` and `configuration`
are the subclasses, `outbox` its end of the lanes, `words` what renderer and tap tell each other.
"""
