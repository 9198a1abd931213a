"""`python -m bgpbridge` is `bgpbridge`."""

from bgpbridge.cli.main import main

main()
