"""Whether what we send to is there: BFD sessions with routers, and checks of services.

Each kind is a pure machine that is handed the time (`bfd_session`, `damping`) and a thin edge that has the sockets,
the processes and the clock. Who is told does something about it elsewhere (`pipeline`): here nothing knows of routes.
"""
