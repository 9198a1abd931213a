"""Routes in columns: what peers sent, what policy let in, what the decision made of it.

    loc_rib         Rib, what the pipeline calls            lookups      reading it, for views
    peers           PeerInfo, the Judge protocol            changes      Changes, Applied
    family          tables of one family, settling          intake       announcements to cells
    prefixes        prefix -> row                           adj_rib_in   a peer's cells, stale routes
    attributes      blocks -> ids -> columns                blocks       their octets
    next_hops       ids, Resolution, Hop                    groups       next-hop groups (PIC)
    decision        RFC 4271 s9.1 with reasons, the oracle  decision_bulk  the same for columns
    collection      unused ids                              tables       columns, hash indexes

Pure: no clock, no socket, no log. Every id (row, attribute, next hop, group) is a small integer, 0 = none.
"""
